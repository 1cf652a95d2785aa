"""Compares a registry's tags with Git's remote, DVC's cache and `.inkflow/models`, by git and hashes alone."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML


def unpushed(project: Path) -> list[str]:
    """Returns the names of the tags that are not the same object in the project and in its remote `origin`."""
    here = _tags(_git(project, "for-each-ref", "--format=%(objectname)%09%(refname)", "refs/tags"))
    there = _tags(_git(project, "ls-remote", "--tags", "--refs", "origin"))
    return sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))


def holders(project: Path, model: str) -> dict[str, str]:
    """Returns the version that holds each stage: the one at the commit of the stage's last tag."""
    tags = _git(project, "for-each-ref", "--sort=creatordate", "--format=%(refname:strip=2)", f"refs/tags/{model}#*")
    last = {tag.split("#")[1]: tag for tag in tags.splitlines()}
    found = {}
    for stage, tag in last.items():
        [version] = _git(project, "tag", "--list", f"{model}@*", "--points-at", f"{tag}^{{commit}}").splitlines()
        found[stage] = version.partition("@")[2]
    return found


def flaws(project: Path, model: str) -> Iterator[str]:
    """Yields where the tags of a model, DVC's cache and `.inkflow/models` disagree.

    The cache has all outputs of each version. The file of a version that holds a stage is in `.inkflow/models` too,
    beside a record of it.
    """
    for tag in _git(project, "tag", "--list", f"{model}@*").splitlines():
        for path, digest in _outputs(project, tag).items():
            if _digest(project / ".dvc/cache/files/md5" / digest[:2] / digest[2:], "md5") != digest:
                yield f"{tag}: the cache has no right {path}"
    for stage, version in holders(project, model).items():
        tag = f"{model}@{version}"
        path = _yaml(project, tag, "dvc.yaml")["artifacts"][model]["path"]
        file = project / ".inkflow/models" / tag / PurePosixPath(path).name
        if _digest(file, "md5") != _outputs(project, tag)[path]:
            yield f"{tag} holds {stage}: {file.parent} has no right {file.name}"
        commit = _git(project, "rev-parse", f"{tag}^{{commit}}")
        names = {"model": model, "version": version, "commit": commit, "sha256": _digest(file, "sha256")}
        record = file.with_name("version.json")
        if not record.exists() or not names.items() <= json.loads(record.read_text()).items():
            yield f"{tag} holds {stage}: {record} is of another version"


def _outputs(project: Path, revision: str) -> dict[str, str]:
    stages = _yaml(project, revision, "dvc.lock")["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def _yaml(project: Path, revision: str, name: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(_git(project, "show", f"{revision}:{name}")))


def _digest(file: Path, kind: str) -> str:
    return hashlib.new(kind, file.read_bytes(), usedforsecurity=False).hexdigest() if file.exists() else "missing"


def _tags(listed: str) -> dict[str, str]:
    return {name: digest for digest, name in (line.split("\trefs/tags/") for line in listed.splitlines())}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
