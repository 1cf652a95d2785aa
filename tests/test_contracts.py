"""What keeps the project one piece: schema, graph and walls agree, and the house rules hold."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.params.schema import Params
from stages.train import fingerprint

ROOT = Path(__file__).parents[1]
PROGRAMS = ("download", "prepare", "train", "evaluate", "report")
DVC_ROOM = "flows/dvc_repo/"
OPEN_TO_FLOWS = {
    "stages.base",
    "stages.params",
    "stages.predict",  # programs that are verbs: their arguments; the work starts later
    "stages.export.command",
}
LINES_A_MODULE = 300
LINES_A_FUNCTION = 50
# No program: data that a package reads beside its modules.
NOT_DATA = {".py", ".pyc"}
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
REGISTRY = re.compile(r"-index-url|--find-links|pypi\.org/simple|files\.pythonhosted|file:///\w")


def read_yaml(name: str) -> dict[str, Any]:
    """A YAML file of the project, parsed."""
    parsed: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))
    return parsed


def stage(name: str) -> dict[str, Any]:
    """The stage `name` of dvc.yaml, without its foreach."""
    entry: dict[str, Any] = read_yaml("dvc.yaml")["stages"][name]
    inner: dict[str, Any] = entry.get("do", entry)
    return inner


def modules(*folders: str) -> list[Path]:
    """The Python files of `folders`."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names that the file imports anywhere, functions too: `from a import b` gives both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_files(dotted: str) -> Iterator[Path]:
    """Files that importing `dotted` runs: the module, and each package above it."""
    parts = dotted.split(".")
    for length in range(1, len(parts) + 1):
        path = ROOT.joinpath(*parts[:length])
        yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def closure(program: str) -> set[Path]:
    """Project files that `python -m stages.<program>` may read: modules, and sub-packages' data."""
    waiting, seen = list(module_files(f"stages.{program}.__main__")), set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [file for name in imports(path) for file in module_files(name)]
    packages = {path.parent for path in seen} - {ROOT / "stages"}
    return seen | {file for package in packages for file in data_files(package)}


def data_files(package: Path) -> set[Path]:
    """Templates and the like below `package`."""
    return {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in NOT_DATA and not path.name.startswith(".")
    }


def declared(program: str) -> set[Path]:
    """Project files below stages/ that are among the stage's deps; a folder stands for all that it holds."""
    found = set[Path]()
    for entry in stage(program)["deps"]:
        name = entry if isinstance(entry, str) else next(iter(entry))
        path = ROOT / name
        if path.is_dir() and name.startswith("stages/"):
            found |= {file for file in path.rglob("*.py") if file.is_file()} | data_files(path)
        elif name.startswith("stages/"):
            found.add(path)
    return found


def yaml_lines(paths: set[Path]) -> str:
    """`paths` as lines for the deps of a stage."""
    return "\n".join(f"      - {path.relative_to(ROOT)}" for path in sorted(paths)) or "      (none)"


def tracked() -> list[Path]:
    """Files that git tracks, or would track: all but the ignored ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """The file's text; nothing for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def watched_sections() -> set[str]:
    """Top-level keys of params.yaml that some stage of dvc.yaml watches."""
    names = [name for program in PROGRAMS for name in stage(program).get("params", [])]
    return {name.split(".")[0] for name in names}


def test_schema_params_and_graph_name_the_same_sections() -> None:
    """Every section of the schema stands in params.yaml and is watched by a stage, but for the models kept ready."""
    sections = set(Params.model_fields)
    assert set(read_yaml("params.yaml")) == sections
    assert watched_sections() == sections - {"more_models"}


def test_stages_watch_whole_sections() -> None:
    """A stage watches a section, a model or a data set as a whole: a forgotten single key would go stale."""
    allowed = {*Params.model_fields, "datasets.${dataset}", "models.${key}"}
    for program in PROGRAMS:
        assert set(stage(program).get("params", [])) <= allowed, program


def test_graph_has_the_five_programs() -> None:
    """dvc.yaml runs each stage's program by its module, and train and evaluate once for each model."""
    entries = read_yaml("dvc.yaml")["stages"]
    assert tuple(entries) == PROGRAMS
    for program in PROGRAMS:
        assert stage(program)["cmd"].startswith(f"python -m stages.{program} ")
    assert {name for name in entries if entries[name].get("foreach") == "${models}"} == {"train", "evaluate"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_deps_are_the_import_closure(program: str) -> None:
    """A stage depends on every project file that its program reads, and on no other."""
    needed, said = closure(program), declared(program)
    assert said == needed, (
        f"dvc.yaml, stage {program}\n"
        f"    missing from deps:\n{yaml_lines(needed - said)}\n"
        f"    superfluous in deps:\n{yaml_lines(said - needed)}"
    )


def test_checkpoints_are_of_all_code_that_trains() -> None:
    """The key of a checkpoint holds every module that the train stage depends on, however late it is imported."""
    ours = {name.removeprefix("stages/") for name in stage("train")["deps"] if name.startswith("stages/")}
    loops = {"train/training.py", "train/backends/tensorflow_loop.py", "train/backends/jax_loop.py"}
    assert loops <= ours <= set(fingerprint.code())


@pytest.mark.parametrize("path", modules("stages"), ids=lambda path: path.name)
def test_stages_know_no_orchestration(path: Path) -> None:
    """No module of stages imports flows, DVC or Prefect."""
    assert {name.split(".")[0] for name in imports(path)}.isdisjoint({"flows", "dvc", "dvc_data", "prefect"})


@pytest.mark.parametrize("path", modules("flows"), ids=lambda path: path.name)
def test_flows_know_no_learning(path: Path) -> None:
    """Modules of flows import of stages what is open to them, no numbers and no learning."""
    names = imports(path)
    of_stages = {".".join(name.split(".")[:2]) for name in names if name.startswith("stages.")}
    assert of_stages <= OPEN_TO_FLOWS
    tops = {name.split(".")[0] for name in names}
    assert tops.isdisjoint({"numpy", "keras", "tensorflow", "pandas", "matplotlib", "onnxruntime", "sklearn"})


def test_one_room_talks_to_dvc() -> None:
    """In flows, DVC is imported by one room alone."""
    talks = {
        str(path.relative_to(ROOT))
        for path in modules("flows")
        if {name.split(".")[0] for name in imports(path)} & {"dvc", "dvc_data", "dvc_objects", "scmrepo"}
    }
    assert {name for name in talks if not name.startswith(DVC_ROOM)} == set()


@pytest.mark.parametrize("path", modules("stages", "flows", "tests", "benchmarks"), ids=lambda path: path.name)
def test_modules_and_functions_are_short(path: Path) -> None:
    """No module is longer than 300 lines, no function than 50."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES_A_MODULE
    long = {
        node.name: lines
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LINES_A_FUNCTION
    }
    assert long == {}


def test_files_belong_to_no_machine() -> None:
    """No tracked file holds a path of one machine or the address of a package registry."""
    exempt = {Path(__file__), ROOT / ".ci" / "no-addresses"}  # they hold the patterns
    texts = {path: text_of(path) for path in tracked() if path not in exempt}
    found = [
        str(path.relative_to(ROOT)) for path, text in texts.items() if MACHINE.search(text) or REGISTRY.search(text)
    ]
    assert found == []


def test_readme_is_short() -> None:
    """The README stays below 900 words; the rest is in docs/."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900


def test_git_holds_no_data() -> None:
    """Data sets, models and reports are DVC's; git has the small metrics.json alone."""
    made = {"data", "models", "reports", "evaluation"}
    names = [path.relative_to(ROOT) for path in tracked()]
    assert [str(name) for name in names if name.parts[0] in made and name.name != "metrics.json"] == []
    assert [str(name) for name in names if name.suffix in {".npz", ".npy", ".keras", ".onnx", ".parquet"}] == []
