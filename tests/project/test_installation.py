"""What an installation of the archives has: all files, and a command that works beside a project's own packages."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Toy
from tests.support.installation import Installation, install, tracked_files
from tests.support.root import ROOT
from tests.support.up_process import running_up

# A project with packages `flows` and `stages` of its own: each stage writes the names that they have.
OWN_PACKAGES = {
    "flows/__init__.py": 'NAME = "own flows"\n',
    "stages/__init__.py": 'NAME = "own stages"\n',
    "stages/show.py": """
import sys
from pathlib import Path
import flows, stages
def main():
    Path(sys.argv[1]).write_text(f"{flows.NAME}, {stages.NAME}")
if __name__ == "__main__":
    main()
""",
    "scripts/show.py": "import stages.show\nstages.show.main()\n",
    "params.yaml": "n: 1\n",
    "dvc.yaml": """
stages:
  module: {cmd: python -m stages.show module, deps: [stages/show.py], params: [n], outs: [module]}
  script: {cmd: python scripts/show.py script, deps: [stages/show.py], params: [n], outs: [script]}
  preloaded: {cmd: python -m stages.show preloaded, deps: [stages/show.py], params: [n], outs: [preloaded]}
""",
    "execution.yaml": "stages: {preloaded: {preload: [stages.show]}}\n",
    ".gitignore": "__pycache__\n/module\n/script\n/preloaded\n",
}
OUTPUTS = ("module", "script", "preloaded")
POOL = """
  - name: other
    entrypoint: inkflow.flows.train_stage.train_stage
    pull: []
    work_pool: {name: other}
"""
# The graph of DVC's example-get-started, with programs that are fast and need no package.
GET_STARTED = {
    "params.yaml": """
prepare: {split: 0.2, seed: 20170428}
featurize: {max_features: 100, ngrams: 1}
train: {seed: 20170428, n_est: 50, min_split: 0.01}
""",
    "dvc.yaml": """
stages:
  prepare:
    cmd: python src/prepare.py data/data.xml
    deps: [data/data.xml, src/prepare.py]
    params: [prepare.seed, prepare.split]
    outs: [data/prepared]
  featurize:
    cmd: python src/featurization.py data/prepared data/features
    deps: [data/prepared, src/featurization.py]
    params: [featurize.max_features, featurize.ngrams]
    outs: [data/features]
  train:
    cmd: python src/train.py data/features model.pkl
    deps: [data/features, src/train.py]
    params: [train.min_split, train.n_est, train.seed]
    outs: [model.pkl]
  evaluate:
    cmd: python src/evaluate.py model.pkl data/features
    deps: [data/features, model.pkl, src/evaluate.py]
    metrics: [eval/live/metrics.json: {cache: false}]
    outs: [eval/importance.png]
""",
    "data/data.xml": "<row>R or Python?</row>\n" * 20,
    "src/prepare.py": """
import os, sys
os.makedirs("data/prepared", exist_ok=True)
rows = open(sys.argv[1]).readlines()
open("data/prepared/test.tsv", "w").writelines(rows[:4])
open("data/prepared/train.tsv", "w").writelines(rows[4:])
""",
    "src/featurization.py": """
import os, sys
os.makedirs(sys.argv[2], exist_ok=True)
for part in ("train", "test"):
    open(f"{sys.argv[2]}/{part}.pkl", "w").write(str(len(open(f"{sys.argv[1]}/{part}.tsv").read())))
""",
    "src/train.py": """
import sys
open(sys.argv[2], "w").write(open(f"{sys.argv[1]}/train.pkl").read())
""",
    "src/evaluate.py": """
import json, os, sys
os.makedirs("eval/live", exist_ok=True)
json.dump({"size": int(open(sys.argv[1]).read())}, open("eval/live/metrics.json", "w"))
open("eval/importance.png", "w").write("picture")
""",
}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The archives of this checkout, and an installation of the wheel."""
    return install(tmp_path_factory.mktemp("installation"))


@pytest.fixture
def own_packages(toy: Toy) -> Toy:
    """A committed project with packages `flows` and `stages` of its own."""
    toy.write(OWN_PACKAGES)
    commit(toy)
    return toy


def commit(toy: Toy) -> None:
    """Commits all files of a project."""
    subprocess.run(["git", "add", "--all"], check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *author, "commit", "--quiet", "--message=all", "--allow-empty"], check=True)


def imported(toy: Toy) -> set[str]:
    """Returns what the stages have written, and removes it."""
    texts = {toy.read(name) for name in OUTPUTS}
    for name in OUTPUTS:
        (toy.folder / name).unlink()
    return texts


def test_sdist_has_what_git_has(installation: Installation) -> None:
    """The source distribution has every tracked file (dvc.yaml, params.yaml, dvc.lock, tests) and no other."""
    with tarfile.open(installation.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    made = {name for name in names if name.startswith("inkflow.egg-info/") or name in ("PKG-INFO", "setup.cfg")}
    assert {"dvc.yaml", "params.yaml", "dvc.lock"} <= names
    assert names - made == set(tracked_files())


def test_the_door_for_python_programs(installation: Installation, own_packages: Toy) -> None:
    """`inkflow.engine` runs a project with packages `flows` and `stages` of its own, and imports no Prefect."""
    program = "from inkflow.engine import Project; import sys; print(Project().run().ran, 'prefect' in sys.modules)"
    done = installation.run("python", "-P", "-c", program, folder=own_packages.folder, PYTHONPATH=".")
    assert all(name in done.stdout for name in OUTPUTS) and done.stdout.endswith("False\n")
    assert imported(own_packages) == {"own flows, own stages"}


def test_wheel_is_one_package(installation: Installation) -> None:
    """The wheel has nothing outside of `inkflow`, and there every file of `flows` and `stages` and the templates."""
    with zipfile.ZipFile(installation.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name for name in names if not name.startswith("inkflow/")} == set()
    code = {name for name in tracked_files() if name.startswith(("flows/", "stages/"))}
    assert code == {name.removeprefix("inkflow/") for name in names if name.startswith(("inkflow/f", "inkflow/s"))}
    copied = {name.removeprefix("inkflow/project/") for name in names if name.startswith("inkflow/project/")}
    folders = ("custom/", "templates/", "workers/")
    assert copied >= {name for name in tracked_files() if name.startswith(folders)} | {"dvc.yaml", "params.yaml"}
    assert not copied & {"dvc.lock", "setup.py", "pyproject.toml"}


def test_help_needs_no_tensorflow(installation: Installation, tmp_path: Path) -> None:
    """`inkflow --help` works where TensorFlow and Keras are missing; a verb that needs more names the extra."""
    assert installation.run("python", "-c", "import keras", folder=tmp_path, code=1).stderr.count("No module") == 1
    assert "usage: inkflow" in installation.run("inkflow", "--help", folder=tmp_path).stdout
    assert "usage: inkflow" in installation.run("python", "-m", "inkflow", "--help", folder=tmp_path).stdout


@pytest.mark.farm
def test_own_packages(installation: Installation, own_packages: Toy) -> None:
    """With `PYTHONPATH=.`, a stage imports its project's `flows` and `stages`, preloaded or not; our command ours."""
    subprocess.run(["dvc", "remote", "add", "--quiet", "--default", "store", "store"], check=True)
    commands = (["ci", "run", "--", "--no-server"], ["doctor"], ["verify"])
    for command in commands:  # each of them starts processes with our modules
        done = installation.run("inkflow", *command, folder=own_packages.folder, PYTHONPATH=".")
        commit(own_packages)
    assert "3 outputs: 3 same bytes" in done.stdout
    assert imported(own_packages) == {"own flows, own stages"}


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.farm
def test_own_packages_in_a_sweep(installation: Installation, own_packages: Toy) -> None:
    """The trials of a sweep, which is shown on a Prefect server of our own, import the packages of their project."""
    installation.run("inkflow", "sweep", "--grid", "n=1,2", folder=own_packages.folder, PYTHONPATH=".")
    installation.run("python", "-m", "dvc", "exp", "apply", "n=2", folder=own_packages.folder)
    assert imported(own_packages) == {"own flows, own stages"}


@pytest.mark.farm
@pytest.mark.server
@pytest.mark.timeout(900)  # on a busy machine
def test_own_packages_in_deployed_runs(installation: Installation, own_packages: Toy, tmp_path: Path) -> None:
    """So do the stages of the `nightly` that `inkflow init` has written, here and on a worker of another pool."""
    toy, bare = own_packages, tmp_path / "origin.git"
    toy.write({"execution.yaml": "stages: {script: {pool: other}, preloaded: {preload: [stages.show]}}\n"})
    installation.run("inkflow", "init", folder=toy.folder, PYTHONPATH=".")
    toy.write({"prefect.yaml": toy.read("prefect.yaml") + POOL})
    subprocess.run(["dvc", "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store")], check=True)
    commit(toy)
    subprocess.run(["git", "clone", "--quiet", "--bare", ".", str(bare)], check=True)
    subprocess.run(["git", "remote", "add", "--fetch", "origin", str(bare)], check=True, capture_output=True)
    program = [installation.bin / "inkflow"]
    worker = {"INKFLOW_WORKER_HOME": str(tmp_path / "worker"), "PATH": installation.environment()["PATH"]}
    with running_up(toy.folder, tmp_path / "log", program=program, PYTHONPATH=".", **worker) as up:
        run = up.start("inkflow/nightly")
        up.wait_for(run, "Completed", "Failed", "Crashed")
        assert up.state(run) == "Completed", "\n".join([*up.lines(run), up.logs])
        [sent] = up.runs("other")
        assert sent["state_name"] == "Completed"
    assert imported(toy) == {"own flows, own stages"}


@pytest.mark.farm
def test_example_get_started(installation: Installation, tmp_path: Path) -> None:
    """In a fresh folder with DVC's example, `inkflow init` and `inkflow run` write the dvc.lock of `dvc repro`."""
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for folder in folders:
        for name, text in GET_STARTED.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    ours, theirs = folders
    installation.run("inkflow", "init", folder=ours)
    assert (ours / "dvc.yaml").read_text() == GET_STARTED["dvc.yaml"]
    assert "4 of 4 stages ran" in installation.run("inkflow", "run", "--no-server", folder=ours).stdout
    status = installation.run("python", "-m", "dvc", "status", folder=ours).stdout
    assert "Data and pipelines are up to date" in status
    for command in ("init --no-scm", "repro"):
        installation.run("python", "-m", "dvc", *command.split(), folder=theirs)
    assert (ours / "dvc.lock").read_bytes() == (theirs / "dvc.lock").read_bytes()


@pytest.mark.farm
@pytest.mark.parametrize("template", [pytest.param("small", marks=pytest.mark.farm), "digits"])
def test_templates_of_an_installation(installation: Installation, tmp_path: Path, template: str) -> None:
    """An installation has the templates of this checkout, complete."""
    for name in ("installed", "checkout"):
        (tmp_path / name).mkdir()
    installation.run("inkflow", "init", "--template", template, folder=tmp_path / "installed")
    checkout = {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "inkflow", "init", "--template", template]
    subprocess.run(command, cwd=tmp_path / "checkout", env=os.environ | checkout, check=True, capture_output=True)
    trees = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "installed", tmp_path / "checkout")
    ]
    for tree in trees:
        for name in [name for name in tree if name.startswith((".git/", ".dvc/"))]:
            del tree[name]
    assert trees[0] == trees[1]


def test_another_package_of_this_name(installation: Installation, own_packages: Toy) -> None:
    """A process that has imported a project's `flows` cannot import ours too, and the error says so."""
    code = "import flows, inkflow"
    error = installation.run("python", "-c", code, folder=own_packages.folder, code=1, PYTHONPATH=".").stderr
    assert "inkflow needs its own package flows, but this process has imported" in error
