"""The key of an SSH remote, where CI keeps it as a secret instead of a file."""

import os
from pathlib import Path

from dvc.repo import Repo


def use_key(root: Path, key: str) -> None:
    """Let the default remote of the project at `root` use a private key, if it is a remote over SSH.

    `key` is the key's text, as GitHub hands out secrets, or the path of its file, as GitLab does: it masks no value of
    several lines.
    It goes into a file that only this user may read, below `.dvc/tmp`, and its path into `.dvc/config.local`: git
    tracks neither.
    """
    with Repo(str(root)) as repo:
        name = repo.config["core"].get("remote")
        url = repo.config["remote"].get(name, {}).get("url", "") if name else ""
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
