"""Files of another version of the project, from git, DVC's cache or its remote."""

import shutil
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.scm import RevError, SCMError
from ruamel.yaml import YAML

from flows.core.errors import RevisionUnusable

# What the report reads; {name} stands for each model.
DATA = ("data/raw/dataset.json", "data/raw/dataset.npz", "data/prepared/prepared.json")
OF_MODELS = (
    "models/{name}/training.json",
    "models/{name}/history.csv",
    "models/{name}/model.onnx",
    "evaluation/{name}/metrics.json",
    "evaluation/{name}/predictions.parquet",
)


def fetch_run(root: Path, revision: str, target: Path) -> None:
    """Put all that the report reads, as of `revision` (a commit, a branch, an experiment), below `target`.

    Raises:
        RevisionUnusable: there is no such version, or a file of it is in no cache.
    """
    shutil.rmtree(target, ignore_errors=True)
    try:
        files = DVCFileSystem(str(root), rev=revision)
        _copy(files, "params.yaml", target, revision)
        params = YAML(typ="safe", pure=True).load((target / "params.yaml").read_text(encoding="utf-8"))
        names = [form.format(name=name) for name in params["models"] for form in OF_MODELS]
        for name in (*DATA, *names):
            _copy(files, name, target, revision)
    except (SCMError, RevError) as error:
        raise RevisionUnusable(f"{revision}: no such version ({error}); known: `git log`, `dvc exp list`") from error
    except DvcException as error:
        raise RevisionUnusable(f"{revision}: cannot be read: {error}") from error


def _copy(files: DVCFileSystem, name: str, target: Path, revision: str) -> None:
    try:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        files.get_file(name, str(target / name))
    except OSError as error:  # FileNotFoundError, and what remotes raise
        raise RevisionUnusable(
            f"{revision}: {name} is neither in git, the cache nor a remote; "
            "check that version out and run `inkflow run` or `dvc pull`"
        ) from error
