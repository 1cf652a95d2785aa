"""Programs answer at once: --help and bad input never wait for a large import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.root import ROOT

LEARNING = {"tensorflow", "keras"}
ORCHESTRATION = {"prefect", "dvc"}
SLOW = {"numpy", "pandas", "pydantic", "psutil", "rich", "ruamel"}
# Runs a module as `python -m` does, then says which modules were imported.
WITNESS = """
import runpy, sys
module, sys.argv = sys.argv[1], sys.argv[1:]
code = 0
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as ended:
    code = ended.code or 0
print("IMPORTED", *sorted({name.split(".")[0] for name in sys.modules}))
sys.exit(code)
"""


def imported_by(*arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """The ended process of `python -m <arguments>`, and the top-level packages it imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITNESS, *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    last = ended.stdout.rstrip().rpartition("\n")[2].split()
    assert last[:1] == ["IMPORTED"], ended.stderr
    return ended, set(last[1:])


@pytest.mark.parametrize("program", ["download", "prepare", "train", "evaluate", "report", "params"])
def test_stage_help(program: str) -> None:
    """`python -m stages.X --help` ends well, shows the usage, imports no learning nor orchestration."""
    ended, imported = imported_by(f"stages.{program}", "--help")
    assert ended.returncode == 0
    assert "usage:" in ended.stdout
    assert imported.isdisjoint(LEARNING | ORCHESTRATION)


def test_the_witness_sees_imports() -> None:
    """The helper of these tests does notice a large import: it would not pass by blindness."""
    _, imported = imported_by("dvc", "--version")
    assert "dvc" in imported


@pytest.mark.parametrize("verb", [[], ["run"]], ids=["inkflow", "run"])
def test_inkflow_help_is_light(verb: list[str]) -> None:
    """`inkflow --help` and a verb's --help import nothing large, no verb's work either: they answer at once."""
    ended, imported = imported_by("flows", *verb, "--help")
    assert ended.returncode == 0
    assert "usage: inkflow" in ended.stdout
    assert imported.isdisjoint(LEARNING | ORCHESTRATION | SLOW)


@pytest.mark.parametrize(
    ("program", "arguments", "missing"),
    [
        ("params", ["--out", "{tmp}/out"], "models"),
        ("download", ["--out", "{tmp}/out"], "datasets"),
        ("prepare", ["--raw", "{tmp}/absent", "--out", "{tmp}/out"], "prepare"),
        ("report", ["--out", "{tmp}/out", "--raw", "{tmp}/absent", "--models", "{tmp}/absent"], "datasets"),
        ("train", ["--model", "absent", "--data", "{tmp}/absent", "--out", "{tmp}/out"], "models"),
    ],
)
def test_bad_params_are_said_without_tensorflow(
    program: str, arguments: list[str], missing: str, tmp_path: Path
) -> None:
    """A params.yaml that lacks what a program reads ends it with code 2 before TensorFlow is imported."""
    (tmp_path / "params.yaml").write_text("dataset: mnist\n")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    ended, imported = imported_by(f"stages.{program}", *filled, "--params", str(tmp_path / "params.yaml"))
    assert ended.returncode == 2
    assert f"{missing}: is missing; add it" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert imported.isdisjoint(LEARNING)
    assert not (tmp_path / "out").exists()
