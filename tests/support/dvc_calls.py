"""What some commands of DVC do, for the project in the current folder and in this process: a process takes longer."""

from collections.abc import Mapping
from pathlib import Path

from dvc.config import Config
from dvc.repo import Repo


def configure(section: str, values: Mapping[str, object], level: str = "repo") -> None:
    """Sets values of a section, as `dvc config` does."""
    with Config.from_cwd(validate=False).edit(level) as config:
        config[section].update(values)


def add_remote(url: Path, name: str = "store", *, is_default: bool = True) -> None:
    """Adds a remote that is a folder, as `dvc remote add` does."""
    configure("remote", {name: {"url": str(url)}})
    if is_default:
        configure("core", {"remote": name})


def track(name: str) -> None:
    """Adds a file or folder, as `dvc add` does."""
    with Repo() as repo:
        repo.add(name)


def import_url(source: Path, name: str, *, download: bool = True) -> None:
    """Imports a file, as `dvc import-url` does."""
    with Repo() as repo:
        repo.imp_url(str(source), out=name, no_download=not download)


def unfreeze(name: str) -> None:
    """Unfreezes a stage, as `dvc unfreeze` does."""
    with Repo() as repo:
        repo.unfreeze(name)


def push(*, run_cache: bool = False) -> None:
    """Sends all outputs to the remote, as `dvc push` does, and with `run_cache` the entries of the run cache."""
    with Repo() as repo:
        repo.push(run_cache=run_cache)


def commit(name: str | None = None) -> None:
    """Records what there is of one file or of all, as `dvc commit --force` does."""
    with Repo() as repo:
        repo.commit(name, force=True)
