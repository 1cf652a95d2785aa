"""`inkflow init` makes a project of a folder, adopts the one that is there, and overwrites nothing."""

import importlib.metadata
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.cli.adoption.requirement import UNKNOWN, requirement
from flows.cli.main import main as inkflow
from flows.core.errors import PipelineInvalid
from flows.dvc_repo.repository import Repository
from flows.engine.policy import Policies, load_policies
from stages.base.errors import InvalidInput
from stages.charts.dvc_plots import page_template
from tests.conftest import DIAMOND, Toy, run_engine
from tests.support.commands import run_python
from tests.support.root import ROOT


def files(folder: Path = Path()) -> dict[str, bytes]:
    """Returns the content of all files but those of git and DVC's own."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not {".git", ".dvc"} & set(path.parts))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(autouse=True)
def plots_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The template of DVC's plots is that of this process; `test_plots` has the program that prints it."""
    monkeypatch.setattr("flows.cli.adoption.plots.run_program", lambda *_, **__: page_template())


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_empty_folder(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder becomes a small pipeline that runs; a second call finds nothing to do."""
    (empty / "README.md").write_text("mine\n")
    assert inkflow(["init", "--dry-run"]) == 0
    assert files() == {"README.md": b"mine\n"} and not (empty / ".git").exists()
    shown = capsys.readouterr().out
    assert inkflow(["init"]) == 0
    written = files()
    assert all(name.startswith("src/") or name == "README.md" or name in shown for name in written)
    assert set(run_engine(jobs=2).ran) == {"prepare", "fit@line", "fit@parabola", "compare"}
    losses = json.loads(Path("metrics.json").read_text())["validation_loss"]
    assert losses["parabola"] < 0.05 < losses["line"]
    assert run_python("-m", "dvc", "status", "--quiet").returncode == 0
    capsys.readouterr()
    left = Path(".execution-7.tmp.yaml")  # by a call that was killed
    left.touch()
    assert inkflow(["init"]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert files().items() >= written.items() and not left.exists()


@pytest.mark.cases(1)
@pytest.mark.parametrize("last", ["execution.yaml", "params.yaml", ".gitignore"])
def test_killed_between_two_files(empty: Path, last: str) -> None:
    """A call that was killed between two files is finished by the next one: dvc.yaml is the last file."""
    assert inkflow(["init"]) == 0
    complete = files()
    order = ["execution.yaml", "prefect.yaml", "params.yaml", "src/fit.py", ".gitignore"]
    for name in ["dvc.yaml", *order[order.index(last) + 1 :]]:
        Path(name).unlink()
    assert inkflow(["init"]) == 0
    assert files() == complete


def test_own_files_with_names_of_the_template(empty: Path) -> None:
    """Own files with a name or folder of the template are no template: a new DVC project with them is adopted."""
    (empty / "src").mkdir()
    (empty / "src" / "train.py").touch()
    with pytest.raises(InvalidInput, match="has files, but no git repository"):
        inkflow(["init"])
    (empty / "params.yaml").write_text("mine: 1\n")
    Repo.init(no_scm=True).close()
    before = set(files())
    assert inkflow(["init"]) == 0
    assert set(files()) - before == {"execution.yaml", "prefect.yaml"}


def test_adopts_a_project(toy: Toy) -> None:
    """Existing files keep their bytes, one that has no rule for our state gets it, and the stages run as before."""
    policies = "stages: {join: {retries: 2}}\n"
    toy.write({"dvc.yaml": DIAMOND, "params.yaml": "knobs: 1\n", "in": "one\n", "execution.yaml": policies})
    toy.write({".gitignore": "*.runs\r\n/other", "sub/code.py": ""})
    before = files()
    os.chdir("sub")
    assert inkflow(["init"]) == 0
    os.chdir("..")
    after = files()
    assert set(after) - set(before) == {"prefect.yaml"}
    assert after[".gitignore"] == b"*.runs\r\n/other\r\n/.inkflow/\r\n"
    assert {name for name in before if after[name] != before[name]} == {".gitignore"}
    assert run_engine().error is None
    after = files()  # DVC has added its rules
    assert inkflow(["init"]) == 0
    assert files() == after


@pytest.mark.farm
def test_rules_that_git_has_elsewhere(toy: Toy) -> None:
    """No rule is added where git ignores our state already; the new execution.yaml has no rule for a stage."""
    toy.write({"dvc.yaml": DIAMOND, "params.yaml": "knobs: 1\n", ".git/info/exclude": ".inkflow\n"})
    assert inkflow(["init"]) == 0
    assert ".gitignore" not in files()
    assert load_policies(Path()) == Policies()


@pytest.mark.farm
def test_deployments(empty: Path) -> None:
    """The deployments of any project are flows of the installed Inkflow, and those of all stages are retried."""
    assert inkflow(["init"]) == 0
    content = YAML(typ="safe").load(Path("prefect.yaml").read_text())
    deployments = {deployment["name"]: deployment for deployment in content["deployments"]}
    for deployment in deployments.values():
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert callable(getattr(import_module(module), name))
    (trigger,) = deployments.pop("retry-crashed")["triggers"]
    assert trigger["match_related"]["prefect.resource.name"] == list(deployments)


@pytest.mark.farm
def test_below_the_root_of_git(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the root of a repository, workflows are at its root and run in the project's folder, with valid content."""
    subprocess.run(["git", "init", "--quiet"], check=True)
    project = empty / "my models" / "digits"
    project.mkdir(parents=True)
    os.chdir(project)
    assert inkflow(["init", "--ci", "github", "--ci", "gitlab"]) == 0
    printed = capsys.readouterr().out
    assert "dvc init --subdir" in printed and "replace this address with that of your copy" in printed
    assert (project / "dvc.yaml").exists() and not (empty / ".dvc").exists()
    workflows = {"vendor.github-workflows": ".github/workflows/inkflow.yml", "vendor.gitlab-ci": ".gitlab-ci.yml"}
    for schema, name in workflows.items():
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(empty / name)]
        assert subprocess.run(command, check=False).returncode == 0
    github, gitlab = (YAML(typ="safe").load((empty / name).read_text()) for name in workflows.values())
    assert github["defaults"]["run"]["working-directory"] == "my models/digits"
    assert gitlab["default"]["before_script"][0] == "cd 'my models/digits'"
    commands = [step.get("run", "") for step in github["jobs"]["check"]["steps"]] + gitlab["default"]["before_script"]
    assert sum("inkflow @ git+https://git.example/inkflow.git" in command for command in commands) == 2
    assert github["jobs"]["run"]["steps"][-1]["with"]["path"].splitlines() == gitlab["run"]["artifacts"]["paths"]
    assert gitlab["run"]["artifacts"]["paths"] == [f"my models/digits/{name}.lock" for name in ("dvc", "environment")]


def test_a_folder_that_github_would_run_is_refused(empty: Path) -> None:
    """GitHub replaces `${{ }}` anywhere in a workflow, in the name of a folder too."""
    subprocess.run(["git", "init", "--quiet"], check=True)
    project = empty / "a ${{ github.token }}"
    project.mkdir()
    os.chdir(project)
    with pytest.raises(InvalidInput, match=r"GitHub would replace the \$\{\{ in the name"):
        inkflow(["init", "--ci", "github"])
    assert not (empty / ".github").exists()


@pytest.mark.parametrize(
    ("record", "address"),
    [
        ({"url": "https://me:secret@git.test/i.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
         "git+https://git.test/i.git@c0ffee"),
        ({"url": "ssh://git@git.test/i.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
         "git+ssh://git@git.test/i.git@c0ffee"),
        ({"url": "https://host.test/inkflow-1.0-py3-none-any.whl", "archive_info": {}},
         "https://host.test/inkflow-1.0-py3-none-any.whl"),
        ({"url": ROOT.as_uri(), "dir_info": {"editable": True}}, UNKNOWN),
        (None, UNKNOWN),
    ],
)  # fmt: skip
def test_a_workflow_installs_this_inkflow(
    record: dict[str, Any] | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow installs from where this Inkflow came from: PyPI's package of that name is another project."""
    found = SimpleNamespace(read_text=lambda _: json.dumps(record) if record else None)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: found)
    assert requirement(None) == f"inkflow @ {address}"
    assert requirement("train") == f"inkflow[train] @ {address}"


@pytest.mark.farm
def test_without_git(empty: Path) -> None:
    """A DVC project without git stays one: it gets no .gitignore, and no workflow."""
    Repo.init(no_scm=True).close()
    (empty / "dvc.yaml").write_text(DIAMOND)
    (empty / "params.yaml").write_text("knobs: 1\n")
    assert inkflow(["init"]) == 0
    assert not {".gitignore", ".git"} & {path.name for path in empty.iterdir()}
    with pytest.raises(InvalidInput, match=r"--ci github: .* is in no git repository"):
        inkflow(["init", "--ci", "github"])


BROKEN = {
    "no YAML": ("stages: [", r"dvc\.yaml cannot be read: .*; nothing was written"),
    "a list": ("- stages\n", r"dvc\.yaml: got list, expected `stages:`; nothing was written"),
    "no text": ("\udcff", r"dvc\.yaml cannot be read"),
    "a wrong key": ("stages: {a: {cmd: x, output: [b]}}\n", r"DVC cannot read the pipeline: .*dvc\.yaml"),
    "a conflict": ("<<<<<<< a\na: 1\n=======\n", r"dvc\.yaml has a merge conflict, .*; nothing was written"),
}


@pytest.mark.parametrize("text, message", BROKEN.values(), ids=BROKEN)
def test_broken_pipeline(toy: Toy, text: str, message: str) -> None:
    """A dvc.yaml that cannot be used is an error of one sentence, before anything is written."""
    (toy.folder / "dvc.yaml").write_text(text, errors="surrogateescape")
    before = files()
    with pytest.raises(PipelineInvalid, match=message):
        inkflow(["init"])
    assert files() == before


def test_broken_pipeline_without_dvc(empty: Path) -> None:
    """Without a DVC project too, a dvc.yaml with a wrong key is refused before git or DVC is initialised."""
    (empty / "dvc.yaml").write_text("stages: {a: {cmd: x, output: [b]}}\n")
    with pytest.raises(PipelineInvalid, match=r"DVC cannot read the pipeline: .*extra keys not allowed"):
        inkflow(["init"])
    assert [path.name for path in empty.iterdir()] == ["dvc.yaml"]


def test_refusals(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with other files, another pipeline, and files that a template has too are left as they are."""
    (empty / "letter.txt").write_text("hello")
    with pytest.raises(InvalidInput, match=r"has files, but no git repository and no dvc\.yaml: `git init` it"):
        inkflow(["init"])
    (empty / "params.yaml").write_text("mine: 1\n")
    with pytest.raises(InvalidInput, match=r"params\.yaml: got other content than the template small has"):
        inkflow(["init", "--template", "small"])
    subprocess.run(["git", "init", "--quiet"], check=True)
    (empty / "below").mkdir()
    (empty / "below" / "x").touch()
    monkeypatch.chdir("below")
    with pytest.raises(InvalidInput, match="is a folder in the git repository"):
        inkflow(["init"])
    monkeypatch.chdir(empty)
    (empty / "dvc.yaml").write_text(DIAMOND)
    with pytest.raises(InvalidInput, match="is another pipeline than the template digits"):
        inkflow(["init", "--template", "digits"])
    assert set(files()) == {"letter.txt", "params.yaml", "below/x", "dvc.yaml"}


def test_a_path_that_is_not_utf8(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC could not record the files of the project: nothing is written."""
    folder = empty / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidInput, match=r"caf\\udce9' is not UTF-8, as DVC needs it; rename the folder"):
        inkflow(["init"])
    assert list(folder.iterdir()) == []


@pytest.mark.farm
def test_digits(empty: Path) -> None:
    """The template digits is this project: the same files, stages and parameters; its deployments are importable."""
    assert inkflow(["init", "--template", "digits"]) == 0
    written = files()
    assert {name for name, content in written.items() if content != (ROOT / name).read_bytes()} == {"prefect.yaml"}
    with Repository() as repository, Repository(ROOT) as own:
        assert [stage.outputs for stage in repository.stages()] == [stage.outputs for stage in own.stages()]
    for deployment in YAML(typ="safe").load(written["prefect.yaml"])["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert callable(getattr(import_module(module), name))
    run = subprocess.run([sys.executable, "-m", "stages.params", "--out", "valid.txt"], check=False, env=os.environ)
    assert run.returncode == 0
    assert inkflow(["ci", "check", "--no-remote"]) == 1, "no stage is recorded yet"
    summary = Path(".inkflow/ci/check.md").read_text()
    assert "docs/parameters.md are up to date" in summary
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "# mine\n")
    assert inkflow(["init", "--template", "digits"]) == 0, "files that were edited since are kept"
    assert Path("params.yaml").read_text().endswith("# mine\n")
