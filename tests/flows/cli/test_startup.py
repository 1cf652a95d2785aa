"""Programs start fast: `--help` and errors about bad input never wait for a large import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from tests.conftest import Toy, run_engine
from tests.support.root import ROOT

TRAINING = {"tensorflow", "keras"}
ORCHESTRATION = {"prefect", "dvc"}
SLOW = {"numpy", "pandas", "pydantic", "psutil", "rich", "ruamel"}
# Runs a module as `python -m` does, then prints the names of the imported packages.
IMPORT_RECORDER = """
import runpy, sys
module, sys.argv = sys.argv[1], sys.argv[1:]
code = 0
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as error:
    code = error.code or 0
print("IMPORTED", *sorted({name.split(".")[0] for name in sys.modules}))
sys.exit(code)
"""


def imported_by(*arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Runs `python -m ARGUMENTS`; returns the ended process and the top-level packages that it imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", IMPORT_RECORDER, *arguments]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    last = process.stdout.rstrip().rpartition("\n")[2].split()
    assert last[:1] == ["IMPORTED"], process.stderr
    return process, set(last[1:])


OTHERS = ("params", "download", "prepare", "evaluate", "report")


@pytest.mark.parametrize("program", ["train", *(pytest.param(name, marks=pytest.mark.farm) for name in OTHERS)])
def test_stage_help(program: str) -> None:
    """`python -m stages.X --help` shows the usage and imports no package for training or orchestration."""
    process, imported = imported_by(f"stages.{program}", "--help")
    assert process.returncode == 0
    assert "usage:" in process.stdout
    assert imported.isdisjoint(TRAINING | ORCHESTRATION)


def test_large_imports_are_recorded() -> None:
    """The helper of these tests records a large import, so the other tests can fail."""
    _, imported = imported_by("dvc", "--version")
    assert "dvc" in imported


@pytest.mark.parametrize("verb", [[], ["run"], ["init"]], ids=["inkflow", "run", "init"])
def test_inkflow_help_is_light(verb: list[str]) -> None:
    """`inkflow --help` and the `--help` of a verb import no large package and not the module that runs the verb."""
    process, imported = imported_by("flows", *verb, "--help")
    assert process.returncode == 0
    assert "usage: inkflow" in process.stdout
    assert imported.isdisjoint(TRAINING | ORCHESTRATION | SLOW)


def test_a_run_without_changes_is_light(diamond: Toy) -> None:
    """`inkflow run` with nothing to do imports DVC, but neither Prefect nor the libraries of policies and displays."""
    diamond.write({"execution.yaml": "stages: {join: {slots: 2}}\n"})
    assert run_engine().error is None
    assert inkflow(["run"]) == 0  # finds execution.yaml valid, which the next one remembers
    program = "import sys; from flows.cli.main import main; main(['run']); print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "Nothing to do" in output
    imported = {name.split(".")[0] for name in output.split()}
    assert "dvc" in imported
    assert imported.isdisjoint(TRAINING | {"prefect", "pydantic", "numpy", "pandas"})


@pytest.mark.cases(1)
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
def test_invalid_params_are_reported_without_tensorflow(
    program: str, arguments: list[str], missing: str, tmp_path: Path
) -> None:
    """A params.yaml without a section that a program reads ends it with code 2 before TensorFlow is imported."""
    (tmp_path / "params.yaml").write_text("dataset: mnist\n")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    process, imported = imported_by(f"stages.{program}", *filled, "--params", str(tmp_path / "params.yaml"))
    assert process.returncode == 2
    assert f"{missing}: is missing; add it" in process.stderr
    assert "Traceback" not in process.stderr
    assert imported.isdisjoint(TRAINING)
    assert not (tmp_path / "out").exists()
