"""Finds the files of a registered model: `cnn@prod` by its stage, `cnn@v0.1.0` by its version.

The files come from DVC's cache or remote, are checked by the hash that dvc.lock has at the version's commit, and stay
in `.inkflow/models/MODEL@VERSION`, once for all that use them.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml.error import YAMLError

from flows.core.commit import file_sha256
from flows.core.errors import GitFailed, RegistryFailed
from flows.core.git import git_text
from flows.core.project import make_state_folder
from flows.dvc_repo.history.run_files import PARTS, fetch_files
from flows.registry.lock_entries import lock_entries
from flows.registry.tag_files import shallow_hint
from flows.registry.tags import VERSION, ModelVersion, Registry, require_version
from stages.base.digests import file_md5, read_sealed, write_sealed
from stages.base.errors import InvalidInput
from stages.base.files import abandoned_files, exists
from stages.base.suggestions import did_you_mean
from stages.base.yaml_text import parse_yaml

FOLDER = Path(".inkflow/models")
FOLDER_HASH = ".dir"  # the end of a hash of DVC that is of a folder
TEMPLATE = "${"  # begins the name of a value of `vars` in dvc.yaml
RECORD = "version.json"  # beside the files: which version they are
DIGESTS = "files"  # key of the record: the SHA-256 of each file, by its name; records of earlier versions have none
ADDRESS = re.compile(r"(?P<model>[^@{}]+)@(?P<name>[^@/{}]+)")  # HEAD@{1} is Git's
FILES = ("model.onnx", "model.keras", "training.json", "validation.json")  # beside the artifact, where they exist


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model with its files.

    Attributes:
        version: what the registry says of it.
        path: the artifact's file.
    """

    version: ModelVersion
    path: Path


def is_address(text: str) -> bool:
    """Returns True if `text` has the form MODEL@STAGE or MODEL@VERSION and is no file or folder."""
    return ADDRESS.fullmatch(text) is not None and not exists(text)


def find_version(root: Path, address: str) -> ModelVersion:
    """Returns the version at `address`.

    Raises:
        InvalidInput: there is no such model, stage or version; the message names those that exist.
        RevisionUnusable: the project is in no Git repository.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise InvalidInput(f"{address}: expected MODEL@STAGE or MODEL@VERSION, such as cnn@prod")
    model, name = match["model"], match["name"]
    everything = Registry(root).versions()
    versions = [item for item in everything if item.model == model]
    if not versions:
        known = sorted({item.model for item in everything})
        names = f"{did_you_mean(model, known)}known: {', '.join(known)}" if known else "none is"
        raise InvalidInput(
            f"{address}: no version of {model} is registered; {names}; `inkflow promote` registers one"
            f"{shallow_hint(root)}"
        )
    if VERSION.fullmatch(name):
        return require_version(versions, model, name, shallow_hint(root))
    for item in versions:
        if name in item.stages:
            return item
    stages = sorted({stage for item in versions for stage in item.stages})
    known_stages = f"known: {', '.join(stages)}" if stages else "no version holds one"
    raise InvalidInput(
        f"{address}: no version of {model} holds {name}; {did_you_mean(name, stages)}{known_stages}{shallow_hint(root)}"
    )


def fetch_model(root: Path, address: str) -> RegisteredModel:
    """Returns the model at `address` with its files, from `.inkflow/models`, DVC's cache or its remote.

    Raises:
        InvalidInput: there is no such model, stage or version, or its artifact is a folder.
        RegistryFailed: the tag, dvc.lock and the files do not agree.
        RevisionUnusable: no cache and no remote has the files.
    """
    version = find_version(root, address)
    outputs, path = _checked_outputs(root, version)
    if outputs[path].endswith(FOLDER_HASH):
        raise InvalidInput(
            f"{address}: {path} is a folder, expected the file of a model; name that file under `artifacts` in "
            f"dvc.yaml, or copy the folder: `dvc get . {path} --rev {version.commit[:10]}`"
        )
    folder = _folder(version)
    missing = [name for name, digest in outputs.items() if file_md5(root / folder / Path(name).name) != digest]
    if missing:
        make_state_folder(root)
        fetch_files(root, version.commit, {name: root / folder / Path(name).name for name in missing})
    for name in missing:
        if (found := file_md5(root / folder / Path(name).name)) != outputs[name]:
            (root / folder / Path(name).name).unlink(missing_ok=True)
            raise _damaged(f"{address}: {name}", found, outputs[name], version.commit)
    for name in outputs:
        os.utime(root / folder / Path(name).name)  # `inkflow prune` removes what was not used for long
    file = folder / PurePosixPath(path).name
    write_sealed(root / folder / RECORD, _record(version, root / file, outputs))
    return RegisteredModel(version, file)


def files_without_stage(root: Path) -> list[Path]:
    """Returns the files of versions that hold no stage, which `fetch_model` brings again, and what it left half done.

    Other files beside them, such as exports, are not among them.

    Raises:
        RevisionUnusable: there are such folders, and the project is in no Git repository.
    """
    folders = [path for path in (root / FOLDER).glob("*") if path.is_dir()]
    if not folders:
        return []
    used = {root / _folder(version) for version in Registry(root).versions() if version.stages}
    return [path for folder in folders if folder not in used for path in _fetched(folder)]


def _fetched(folder: Path) -> Iterator[Path]:
    """Yields the files in the folder of a version that `fetch_model` has written, the record last: it names them."""
    try:
        names = set(read_sealed(folder / RECORD)[DIGESTS])
    except (OSError, ValueError, LookupError, TypeError):  # of an earlier version, which had no names, or damaged
        names = set()
    yield from (path for path in folder.iterdir() if path.name in {*names, *FILES} - {RECORD})
    yield from (folder / PARTS).rglob("*")
    yield from abandoned_files(folder, "")
    yield folder / RECORD


def _folder(version: ModelVersion) -> Path:
    """Returns where the files of a version are kept, in the project."""
    return FOLDER / f"{version.model.replace('/', '=')}@{version.version}"


def check_stored(root: Path, version: ModelVersion) -> None:
    """Checks that a cache or a remote has the version's file as its commit names it; a folder is not checked.

    Raises:
        RevisionUnusable: none has it; the message says what to do.
        RegistryFailed: dvc.lock or dvc.yaml at that commit has no such model, or the file is damaged.
    """
    model, commit = version.model, version.commit
    outputs, path = outputs_at_commit(root, commit, model, version.trailers.get("Path", ""))
    if outputs[path].endswith(FOLDER_HASH):
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PurePosixPath(path).name
        fetch_files(root, commit, {path: copy})
        if outputs[path] and (found := file_md5(copy)) != outputs[path]:
            raise _damaged(f"{model}: {path}", found, outputs[path], commit)


def _damaged(subject: str, found: str, expected: str, commit: str) -> RegistryFailed:
    """Returns the error for a fetched file with another hash; it came from a remote, as the cache's are checked."""
    return RegistryFailed(
        f"{subject} has the hash {found}, expected {expected} of dvc.lock at {commit[:10]}; the remote's object is "
        "damaged: remove it there, since a push replaces no object, then `dvc push` it from where it was made"
    )


def _record(version: ModelVersion, file: Path, outputs: Iterable[str]) -> dict[str, Any]:
    """Returns what the predictions of a registered model say about it, and the SHA-256 of its files, by name.

    Args:
        version: the version.
        file: the artifact's file; the others are beside it.
        outputs: the paths of all files in the version's commit.

    Raises:
        RegistryFailed: the file is not the one that the tag records.
    """
    digests = {name: file_sha256(file.with_name(name)) for name in sorted(PurePosixPath(path).name for path in outputs)}
    digest = digests[file.name]
    if (expected := version.trailers.get("Model-SHA256", digest)) != digest:
        raise RegistryFailed(
            f"{version.model}@{version.version}: the tag says SHA-256 {expected}, the file has {digest}; the tag or "
            "the history was changed: register the model again with `inkflow promote`"
        )
    about = {"model": version.model, "version": version.version, "commit": version.commit}
    return {**about, "sha256": digest, DIGESTS: digests}


def outputs_at_commit(root: Path, commit: str, model: str, known_path: str) -> tuple[dict[str, str], str]:
    """Returns the MD5 hashes that dvc.lock has at `commit` for the model's files, and the path of the artifact.

    The artifact can be a folder, whose hash ends with FOLDER_HASH.

    Args:
        root: the project.
        commit: a commit.
        model: the name of the artifact.
        known_path: its path at that commit, for one that dvc.yaml gives as a template; empty if it is not known.

    Raises:
        RegistryFailed: dvc.lock or dvc.yaml at that commit has no such model.
    """
    path = ""
    try:
        lock = lock_entries(git_text(["show", f"{commit}:./dvc.lock"], root))
        project = parse_yaml(git_text(["show", f"{commit}:./dvc.yaml"], root))
        path = str(project["artifacts"][model]["path"])
        path = known_path if TEMPLATE in path and known_path else path
        outs = next(
            {out["path"]: str(out.get("md5", "")) for out in stage["outs"]}
            for stage in lock.values()
            if path in {out["path"] for out in stage["outs"]}
        )
    except (GitFailed, YAMLError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        advice = (
            f"its path {path} is a template there, which the tags of `inkflow promote` resolve: register it with that"
            if TEMPLATE in path
            else "commit both after `inkflow run`"
        )
        raise RegistryFailed(
            f"{model}: dvc.lock and dvc.yaml of commit {commit[:10]} name no output of a stage for it; {advice}"
        ) from error
    beside = {str(PurePosixPath(path).parent / file) for file in FILES} | {path}
    files = {file: digest for file, digest in outs.items() if file in beside and not digest.endswith(FOLDER_HASH)}
    return files | {path: outs[path]}, path


def _checked_outputs(root: Path, version: ModelVersion) -> tuple[dict[str, str], str]:
    """Returns what `outputs_at_commit` does at the version's commit.

    Raises:
        RegistryFailed: the commit has no such model, or another one than the tag records.
    """
    outs, path = outputs_at_commit(root, version.commit, version.model, version.trailers.get("Path", ""))
    if (expected := version.trailers.get("MD5", outs[path])) != outs[path]:
        raise RegistryFailed(
            f"{version.model}@{version.version}: its tag says MD5 {expected}, dvc.lock at its commit {outs[path]}; the "
            "tag was moved: delete it, and register the model again with `inkflow promote`"
        )
    return outs, path
