"""Configures the private key of an SSH remote from the text that CI keeps as a secret."""

import os
from pathlib import Path

from dvc.repo import Repo

from flows.dvc_repo.remote.results import default_remote_of


def use_key(root: Path, key: str) -> None:
    """Make the default remote of the project at `root` use a private key, if it is an SSH remote.

    The key is written to a file below `.dvc/tmp` that only this user may read, and the path of that file to
    `.dvc/config.local`; git tracks neither.

    Args:
        root: the project's folder.
        key: text of the key, as GitHub provides secrets, or the path of its file, as GitLab does, which does not mask
            secrets of several lines.
    """
    with Repo(str(root)) as repo:
        name, url = default_remote_of(repo)
        if not url.startswith("ssh://"):
            return
        if "\n" not in key and Path(key).is_file():
            key = Path(key).read_text(encoding="utf-8").strip()
        path = Path(repo.tmp_dir) / "inkflow_key"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{key}\n")
        with repo.config.edit("local") as content:
            content["remote"].setdefault(name, {})["keyfile"] = str(path)
