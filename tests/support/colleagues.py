"""Somebody else who pushes tags to Git's remote, also in the middle of a push of this project."""

import subprocess
from pathlib import Path


def clone_of(folder: Path) -> Path:
    """Clones `origin.git` in the folder, and returns the clone's folder."""
    clone = folder / "colleague"
    subprocess.run(["git", "clone", "-q", "--template=", str(folder / "origin.git"), str(clone)], check=True)
    return clone


def pushed_by(clone: Path, *tags: str) -> str:
    """Returns a program of the shell with which Bob makes tags at the commit of his clone, and pushes them."""
    bob = f"git -C '{clone}' -c user.name=Bob -c user.email=bob@example.org"
    made = [f"{bob} tag -a -m Bob '{tag}'" for tag in tags]
    return "\n".join([*made, f"{bob} push -q --atomic origin {' '.join(f'refs/tags/{tag}' for tag in tags)}"])


def before_push(program: str) -> None:
    """Lets git run the program once: after the next push has read what the remote has, and before it sends anything."""
    hook = Path(".git/hooks/pre-push")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\nset -e\nrm "$0"\nunset $(git rev-parse --local-env-vars)\n{program}\n')
    hook.chmod(0o755)
