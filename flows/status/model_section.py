"""The section of the registry: the version in use at each stage, with its data, and whether its files exist."""

from datetime import datetime
from pathlib import Path
from threading import Thread

from flows.core.errors import GitFailed
from flows.core.git import git_text
from flows.core.redaction import mask
from flows.status.parts import Need, Section, age
from stages.base.errors import InkflowError

REMOTE_S = 2.0  # for the question whether the DVC remote has a model


def models_section(root: Path, now: datetime) -> Section | None:
    """The version of each model in each stage; None if Git has no tag of a version, or the project is not in Git."""
    try:
        if not _has_stages(root):
            return None
    except GitFailed:
        return None
    from flows.registry.tags import ModelVersion, Registry  # late: GTO takes 0.3 s to import

    try:
        held = [item for item in Registry(root).versions() if item.stages]
        missing = _missing(root, [item.trailers.get("MD5", "") for item in held])
    except InkflowError as error:
        need = Need(f"the registry cannot be read: {mask(str(error))}", "repair the tags that the message names")
        return Section("models", ("the registry cannot be read",), None, (need,))

    def line(item: ModelVersion) -> str:
        data = item.trailers.get("Data", "").rpartition(" ")[2][:7]
        made = f"{item.version} of {age(item.created_at, now)}"
        return f"{', '.join(item.stages)}: {item.model} {made}, data {data or '?'}, commit {item.commit[:7]}"

    facts = [
        {
            "stage": stage,
            "model": item.model,
            "version": item.version,
            "commit": item.commit,
            "data": item.trailers.get("Data"),
            "sha256": item.trailers.get("Model-SHA256"),
            "created_at": item.created_at.isoformat(),
            "files": missing.get(item.trailers.get("MD5", ""), "here"),
        }
        for item in held
        for stage in item.stages
    ]
    lost = [fact for fact in facts if fact["files"] == "missing"]
    needs = tuple(
        Need(
            f"{fact['model']} {fact['version']} is in {fact['stage']}, and its model is in no cache and no remote",
            f"`dvc push` it where it was made, or `inkflow rollback {fact['stage']} --model {fact['model']}`",
        )
        for fact in lost
    )
    lines = tuple(line(item) for item in sorted(held, key=lambda item: item.stages)) or ("no version is in a stage",)
    return Section("models", lines, facts, needs)


def _has_stages(root: Path) -> bool:
    """Returns whether Git has a tag of a stage, or the file of one: Git passes over a damaged one.

    Raises:
        GitFailed: `root` is in no Git repository.
    """
    folder = root / git_text(["rev-parse", "--git-common-dir"], root).strip() / "refs" / "tags"
    if any(folder.rglob("*#*")):
        return True
    patterns = ("refs/tags/*#*", "refs/tags/*/*#*")
    return bool(git_text(["for-each-ref", "--count=1", "--format=%(refname)", *patterns], root))


def _missing(root: Path, digests: list[str]) -> dict[str, str]:
    """Returns `missing`, `in the remote` or `not known` for each model file that is not in the local cache.

    The remote is asked for REMOTE_S at most.
    """
    from flows.dvc_repo.versions.artifacts import cached_files, in_remote  # late: DVC takes 0.5 s to import

    with cached_files(root) as find:
        absent = [digest for digest in digests if digest and find(digest) is None]
    states = dict.fromkeys(absent, "not known")

    def ask() -> None:
        found = in_remote(root, absent)
        if found is not None:
            states.update({digest: "in the remote" if digest in found else "missing" for digest in absent})

    if absent:
        thread = Thread(target=ask, name="remote", daemon=True)
        thread.start()
        thread.join(REMOTE_S)
    return dict(states)
