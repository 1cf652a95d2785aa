"""What `flows` shows goes through the functions that remove secrets and control sequences."""

import ast

from tests.support.root import ROOT

# Modules that print by themselves: what they print is masked there, is no text of others, or is read by a program.
PRINT_THEMSELVES = {
    "flows/core/redaction.py",  # `say`
    "flows/engine/display/plain.py",
    "flows/cli/main.py",
    "flows/cli/output.py",
    "flows/cli/completion.py",
    "flows/experiments/trial_process.py",
    "flows/dvc_repo/remote/check.py",
}


def test_flows_prints_through_say() -> None:
    """No module of `flows` but these uses `print`, and none makes a console of Rich other than the safe one."""
    found = set()
    for path in sorted((ROOT / "flows").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id == "print":
                found.add((name, "print"))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console":
                found.add((name, "Console"))
    assert {name for name, function in found if function == "print"} == PRINT_THEMSELVES
    assert {name for name, function in found if function == "Console"} == set()
