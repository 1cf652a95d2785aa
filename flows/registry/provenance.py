"""Where a model came from: from the SHA-256 of its file to the commit, parameters, data, code and environment."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from flows.core.commit import file_sha256
from flows.core.errors import GitFailed
from flows.core.git import git_text
from flows.dvc_repo.versions.artifacts import CachedFile, cached_files
from flows.registry.lock_entries import lock_entries
from flows.registry.tags import ModelVersion, Registry
from stages.base.digests import LOCK
from stages.base.errors import InvalidInput
from stages.base.files import parse_json

SUFFIX = ".onnx"
MIN_DIGITS, DIGITS = 7, 64  # of a SHA-256 in hex
MAX_COMMITS = 1000  # that are searched, the newest first


@dataclass(frozen=True)
class Provenance:
    """Where a model's file came from.

    Attributes:
        sha256: of the file.
        path: the output of DVC that it is.
        stage: the stage that made it.
        commit: that of its newest version, else the newest commit whose dvc.lock names it; empty if none does.
        versions: its versions in the registry.
        entry: the stage's entry in dvc.lock: command, parameters, and the hashes of code and data.
        environment: what the training recorded of the machine and its packages.
    """

    sha256: str
    path: str
    stage: str
    commit: str
    versions: tuple[ModelVersion, ...]
    entry: dict[str, Any]
    environment: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Returns everything as `--json` prints it."""
        return {
            "sha256": self.sha256,
            "path": self.path,
            "stage": self.stage,
            "commit": self.commit or None,
            "versions": [
                {"model": item.model, "version": item.version, "stages": list(item.stages)} for item in self.versions
            ],
            "command": self.entry.get("cmd"),
            "parameters": self.entry["params"],
            "inputs": {dep["path"]: dep.get("md5") for dep in self.entry["deps"]},
            "environment": self.environment,
        }

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yields what the terminal shows, as pairs of a name and a text."""
        facts = self.as_json()
        yield "model", f"{self.path}, SHA-256 {self.sha256}"
        names = [
            " ".join([f"{item.model}@{item.version}", *(f"({stage})" for stage in item.stages)])
            for item in self.versions
        ]
        yield "versions", ", ".join(names) or "none is registered"
        yield "commit", self.commit or "not committed: dvc.lock of the working tree names it"
        yield "stage", f"{self.stage}: {facts['command']}"
        for file, values in facts["parameters"].items():
            yield f"parameters ({file})", json.dumps(values, ensure_ascii=False)
        for path, digest in facts["inputs"].items():
            yield "input", f"{path} {digest}"
        for key, value in self.environment.items():
            yield key.replace("_", " "), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def trace_model(root: Path, sha256: str) -> Provenance:
    """Returns where the model with the SHA-256 `sha256` (its first digits are enough) came from.

    Raises:
        InvalidInput: it is no SHA-256, or no model of the registry, the working tree and the cache has it.
        RevisionUnusable: the project is in no Git repository.
    """
    digits = sha256.strip().lower()
    if not (MIN_DIGITS <= len(digits) <= DIGITS and set(digits) <= set("0123456789abcdef")):
        raise InvalidInput(
            f"{sha256!r} is no SHA-256: expected {MIN_DIGITS} to {DIGITS} hex digits, as in the column model_sha256"
        )
    versions = Registry(root).versions()
    matching = [item for item in versions if item.trailers.get("Model-SHA256", "").startswith(digits)]
    wanted = {item.trailers["MD5"]: item.trailers["Model-SHA256"] for item in matching if "MD5" in item.trailers}
    with cached_files(root) as cached:
        locks = _locks(root, [item.commit for item in matching])
        return _search(locks, cached, digits, wanted, versions)


def _search(
    locks: Iterator[tuple[str, dict[str, Any]]],
    cached: CachedFile,
    digits: str,
    wanted: dict[str, str],
    versions: list[ModelVersion],
) -> Provenance:
    for commit, lock in locks:
        for stage, entry in lock.items():
            for out in entry["outs"]:
                found = wanted.get(str(out.get("md5"))) or _digest(cached, out, digits)
                if found is None:
                    continue
                own = tuple(item for item in versions if item.trailers.get("Model-SHA256") == found)
                environment = _environment(cached, entry, out["path"])
                return Provenance(found, out["path"], stage, commit, own, entry, environment)
    raise InvalidInput(
        f"no model here has a SHA-256 that begins with {digits}: looked at the registry, and at the models that "
        f"dvc.lock names in the working tree and the last {MAX_COMMITS} commits, as far as the cache has them"
    )


def _locks(root: Path, first: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the stages of dvc.lock: of the commits `first`, of those that changed it, and of the working tree.

    Those that changed it come newest first, of all parents of a merge: a lock that only a merged branch had counts too.
    """
    command = ["log", "--all", "--full-history", f"--max-count={MAX_COMMITS}", "--format=%H", "--", LOCK]
    for commit in [*first, *git_text(command, root).split()]:
        try:
            yield commit, lock_entries(git_text(["show", f"{commit}:./{LOCK}"], root))
        except (GitFailed, YAMLError, ValueError):
            continue  # a commit that removed the file, or left conflicts in it
    try:
        yield "", lock_entries((root / LOCK).read_text(encoding="utf-8"))
    except (OSError, YAMLError, ValueError):
        return


def _digest(cached: CachedFile, out: dict[str, Any], digits: str) -> str | None:
    """Returns the SHA-256 of an ONNX model in the cache, if it begins with `digits`."""
    file = cached(str(out.get("md5", ""))) if out["path"].endswith(SUFFIX) else None
    if file is None:
        return None
    digest = file_sha256(file)
    return digest if digest.startswith(digits) else None


def _environment(cached: CachedFile, entry: dict[str, Any], path: str) -> dict[str, Any]:
    """Returns what training.json beside the model says about machine and packages; empty if it is not at hand."""
    beside = str(Path(path).with_name("training.json"))
    hashes = [str(out.get("md5", "")) for out in entry["outs"] if out["path"] == beside]
    file = cached(hashes[0]) if hashes else None
    try:
        record = parse_json(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return {}
    return {key: record[key] for key in ("device", "threads", "precision", "versions") if key in record}
