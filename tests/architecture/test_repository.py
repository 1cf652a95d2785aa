"""What must and must not be in the repository."""

import re
import subprocess
import tomllib
from pathlib import Path

from dvc.repo import Repo

from stages.model.export_formats import FORMATS
from tests.support.root import ROOT

MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
REGISTRY = re.compile(r"-index-url|--find-links|pypi\.org/simple|files\.pythonhosted|file:///\w")


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


def test_files_belong_to_no_machine() -> None:
    """No tracked file holds a path of one machine or the address of a package registry."""
    exempt = {Path(__file__), ROOT / ".ci" / "no-addresses"}  # they hold the patterns
    texts = {path: text_of(path) for path in tracked() if path not in exempt}
    found = [
        str(path.relative_to(ROOT)) for path, text in texts.items() if MACHINE.search(text) or REGISTRY.search(text)
    ]
    assert found == []


def test_readme_is_short() -> None:
    """The README stays below 500 words, with one picture; the rest is in docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 500
    assert text.count("![") == 1


def test_git_holds_no_data() -> None:
    """Data sets, models and reports are DVC's; git has the small metrics.json alone."""
    made = {"data", "models", "reports", "evaluation"}
    names = [path.relative_to(ROOT) for path in tracked()]
    assert [str(name) for name in names if name.parts[0] in made and name.name != "metrics.json"] == []
    assert [str(name) for name in names if name.suffix in {".npz", ".npy", ".keras", ".onnx", ".parquet"}] == []


def test_package_ships_its_data_files() -> None:
    """Templates that the report reads are among the package data, so that an installation has them."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    beside = {p.relative_to(ROOT) for p in tracked() if p.relative_to(ROOT).parts[0] in ("stages", "flows")}
    shipped = {
        path.relative_to(ROOT)
        for package, globs in patterns.items()
        for glob in globs
        for path in (ROOT / package.removeprefix("inkflow.").replace(".", "/")).glob(glob)
        if package != "inkflow.project"  # what `inkflow init` copies
    }
    assert {path for path in beside if path.suffix != ".py"} == shipped


def test_exports_beside_a_model_are_not_dvcs() -> None:
    """DVC hashes no export, and no leftover of a killed one, beside a model or one of its seeds: `models` and `seeds`
    are inputs and outputs of stages. It hashes the models.
    """
    with Repo(str(ROOT)) as repo:
        ignore = repo.dvcignore
        for folder in (ROOT / "models/cnn", ROOT / "models/cnn/seeds/3"):
            for name in (*FORMATS.values(), ".model-17.tmp.tflite", ".saved_model.new", ".saved_model.old"):
                assert ignore.is_ignored_file(str(folder / name)), name
            for name in ("model.keras", "model.onnx", "training.json"):
                assert not ignore.is_ignored_file(str(folder / name)), name
