"""Promotion of a model to a stage, and the way back."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.core.errors import PromotionRefused, RegistryFailed
from flows.core.git import git_text, head_commit
from flows.core.notices import note_once
from flows.core.project import STATE, make_state_folder
from flows.dvc_repo import remotes
from flows.dvc_repo.versions.artifacts import Artifact, find_artifact, outdated_stages
from flows.engine.types import file_name
from flows.registry.gto_names import GTOException, SemVer, name_re
from flows.registry.judgement import judge
from flows.registry.model_files import outputs_at_commit
from flows.registry.overtaken import fetch_tags, remote_tags
from flows.registry.publication import git_remote, push_tags, push_version
from flows.registry.tag_files import shallow_hint
from flows.registry.tags import (
    ROLLED_BACK_FROM,
    Assignment,
    ModelVersion,
    Registry,
    require_version,
    with_trailers,
)
from stages.base.digests import read_sealed, sealed
from stages.base.errors import InvalidInput
from stages.base.files import write_json
from stages.base.shown_text import remove_controls
from stages.base.suggestions import did_you_mean

UNFINISHED = STATE / "rollbacks"  # a note of each from before its tag is made until its result was shown
LONGEST_NAME = 100  # characters of a stage or version: a tag is a file, whose name also has the model's
REASONS = ("Gates", "Compared", "Forced")  # trailers of a version that the tag of its stage repeats


@dataclass(frozen=True)
class Promotion:
    """What a promotion or a rollback did: `version` holds `stage` now, and `before` held it, if any version did."""

    model: str
    stage: str
    version: str
    before: str | None
    facts: dict[str, str]
    pushed: bool

    def as_json(self) -> dict[str, Any]:
        """Returns the promotion as `--json` prints it."""
        return asdict(self)


def promote(root: Path, model: str, stage: str, *, version: str | None, force: str | None, push: bool) -> Promotion:
    """Registers the model at the commit that is checked out, unless it is a version already, and gives it the stage.

    Args:
        root: the project's folder.
        model: the name of an artifact in dvc.yaml.
        stage: such as prod.
        version: the version's name, such as v1.0.0; the next patch without one.
        force: a reason to promote a model that failed, which is not blank; it is recorded.
        push: push the tags, and what the version needs to the DVC remote.

    Raises:
        PromotionRefused: the project is not committed or outdated, a gate failed, or the model is worse.
        InvalidInput: there is no such artifact, or a name or the reason is not allowed.
        RegistryFailed: the version exists at another commit, or another promotion came first; no tag is left.
    """
    check_names(stage, version)
    _check_reason(force)
    remote = git_remote(root) if push else ""
    artifact = _committed_artifact(root, model)
    if push:
        remotes.require_default_remote(root)
        fetch_tags(root, remote)
    registry, commit = Registry(root), head_commit(root)
    versions = registry.versions(model)
    holder = next((item for item in versions if stage in item.stages), None)
    registered = next((item.version for item in versions if item.commit == commit), None)
    if registered and version not in (None, registered):
        raise InvalidInput(f"--version {version}: this commit is already {model} {registered}; leave the option out")
    if holder is not None and holder.version == registered:
        if not push:
            raise InvalidInput(f"{model} {registered} holds {stage} already; there is nothing to do but --push")
        push_version(root, model, remote, made=())  # of an earlier call, whose push failed
        return Promotion(model, stage, registered, None, {}, True)
    judgement = judge(root, artifact, holder)
    if judgement.problems and not force:
        raise PromotionRefused(
            f"{model} is not promoted to {stage}: {'; '.join(judgement.problems)}; promote a better model, or give "
            "the reason to do it nevertheless: --force REASON"
        )
    facts = artifact.facts | judgement.facts | ({"Forced": force} if force and judgement.problems else {})
    made = []
    if registered is None:
        subject = f"{model} {version}" if version else f"Version of {model}"
        registered = registry.register(model, commit, version, with_trailers(subject, facts))
        made = [registry.version_tag(model, registered)]
    made += [_assign(registry, model, stage, registered, {key: facts[key] for key in REASONS if key in facts})]
    if push:
        push_version(root, model, remote, made)
    return Promotion(model, stage, registered, holder.version if holder else None, facts, push)


def roll_back(root: Path, model: str | None, stage: str, *, push: bool) -> Promotion:
    """Gives the stage back to the version that held it before the present one.

    A call that did not come to its end, as it was killed or could not push, is finished instead, and so is with `push`
    a rollback that is only here. The caller calls `finish_rollback` once the result is shown.

    Args:
        root: the project's folder.
        model: the model; without it, the only one that holds the stage.
        stage: such as prod.
        push: push the tags, and the files of versions whose tags were not pushed yet.

    Raises:
        InvalidInput: no version held the stage before, several models hold it, or the note of a rollback is damaged.
        RegistryFailed: another promotion came first; no tag of this is left.
    """
    check_names(stage)
    remote = git_remote(root) if push else ""
    if push:
        fetch_tags(root, remote)
    registry = Registry(root)
    holders = [item for item in registry.versions(model) if stage in item.stages]
    if len(holders) != 1:
        raise InvalidInput(_no_single_holder(registry, model, stage, holders) + ("" if holders else shallow_hint(root)))
    [holder] = holders
    history = registry.history(holder.model, stage)
    before = _unfinished(root, holder.model, stage, history)
    if before or (
        push and ROLLED_BACK_FROM in history[-1].trailers and history[-1].tag not in remote_tags(root, remote)
    ):
        if before:
            note_once("the last rollback did not come to its end, and is finished; repeat it to go back further")
        if push:
            push_tags(root, holder.model, remote, made=(), needed=holder.version)
        return Promotion(holder.model, stage, holder.version, before, {}, push)
    earlier = _earlier(history, holder.version)
    if earlier is None:
        known = f"{holder.model} {holder.version} is the first version in {stage}"
        if hint := shallow_hint(root):
            raise InvalidInput(f"{known} of those that are known here{hint}")
        raise InvalidInput(f"{known}: there is no earlier one to roll back to")
    target = require_version(registry.versions(holder.model), holder.model, earlier)
    note = {"model": holder.model, "stage": stage, "from": holder.version, "to": earlier, "after": history[-1].tag}
    make_state_folder(root)
    write_json(_note_path(root, holder.model, stage), sealed(note))
    made = _assign(registry, holder.model, stage, target.version, {ROLLED_BACK_FROM: holder.version})
    if push:
        push_tags(root, holder.model, remote, [made], needed=target.version)
    return Promotion(holder.model, stage, target.version, holder.version, {}, push)


def finish_rollback(root: Path, model: str, stage: str) -> None:
    """Notes that the result of `roll_back` was shown: the next call leads back by one version more."""
    _note_path(root, model, stage).unlink(missing_ok=True)


def _note_path(root: Path, model: str, stage: str) -> Path:
    return root / UNFINISHED / f"{file_name(f'{model}@{stage}')}.json"


def _unfinished(root: Path, model: str, stage: str, history: list[Assignment]) -> str | None:
    """Returns the version in whose place a rollback put the present one, if that call did not come to its end.

    Raises:
        InvalidInput: the note that tells it is damaged: a second rollback might lead too far.
    """
    path = _note_path(root, model, stage)
    try:
        note = read_sealed(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} is damaged, which tells whether the last rollback of {model} came to its end; `inkflow models` "
            f"shows which version holds {stage}: remove the file, and repeat the command to go back from that one"
        ) from error
    last = history[-1]
    made = {"model": model, "stage": stage, "from": last.trailers.get(ROLLED_BACK_FROM), "to": last.version}
    is_made = len(history) > 1 and note == made | {"after": history[-2].tag}
    return note["from"] if is_made else None


def check_names(stage: str, version: str | None = None) -> None:
    """Checks the names of a stage and of a version.

    Raises:
        InvalidInput: the stage has other characters than letters, digits, - and _; the version is none of GTO's, or
            Git refuses it in the name of a tag.
    """
    if version is not None:
        try:
            SemVer(version)
        except GTOException as error:
            raise InvalidInput(f"--version {version}: expected a version such as v1.2.3") from error
        if len(version) > LONGEST_NAME or version.endswith(".lock"):
            raise InvalidInput(f"--version {version}: expected a version such as v1.2.3, of a tag that Git allows")
    if not name_re.fullmatch(stage) or "/" in stage or len(stage) > LONGEST_NAME:
        raise InvalidInput(
            f"{stage!r} is no name of a stage: expected at most {LONGEST_NAME} letters, digits, - and _, such as prod"
        )


def _check_reason(force: str | None) -> None:
    if force is not None and not remove_controls(force).strip():
        raise InvalidInput("--force: got an empty reason; say why, for those who ask later")


def _assign(registry: Registry, model: str, stage: str, version: str, facts: dict[str, str]) -> str:
    """Gives `version` the stage, and returns the name of the tag.

    Raises:
        RegistryFailed: a tag of the stage has a later time than the clock, or GTO shows another version afterwards; no
            tag is left.
    """
    history = registry.history(model, stage)
    if history:  # the times of tags are whole seconds, and the later of two holds the stage
        wait_s = history[-1].created_at.timestamp() + 1 - time.time()
        if wait_s > 1:
            raise RegistryFailed(
                f"{model} {version} was not assigned to {stage}: the tag {history[-1].tag} has a later time than the "
                "clock of this machine; correct the clock, and repeat the command"
            )
        time.sleep(max(0.0, wait_s))
    tag = registry.assign(model, stage, version, with_trailers(f"{model} {version} is in {stage}", facts))
    held = [item.version for item in registry.versions(model) if stage in item.stages]
    if held != [version]:
        registry.remove(tag)  # else a rollback would lead to this version
        raise RegistryFailed(
            f"{model} {version} was not assigned to {stage}, which holds {', '.join(held) or 'nothing'}: a tag has a "
            "later time; correct the clock, and repeat the command"
        )
    return tag


def _committed_artifact(root: Path, model: str) -> Artifact:
    """Returns the artifact of this name, after a check that the commit that is checked out has it, up to date.

    Raises:
        InvalidInput: there is no such artifact, it is no output of a stage, or no tag can have its name.
        PromotionRefused: something is not committed, or would run.
    """
    artifact = find_artifact(root, model)
    if not artifact.stage or not artifact.hash:
        raise InvalidInput(
            f"{artifact.name}: {artifact.path} is no output of a stage that dvc.lock records, expected one; run "
            "`inkflow run`, or correct `path` under `artifacts` in dvc.yaml"
        )
    Registry(root).check_name(artifact.name)
    changed = git_text(["status", "--porcelain", "--untracked-files=no"], root).splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:3]) + (" and others" if len(changed) > 3 else "")
        raise PromotionRefused(f"{names}: not committed, and a version is a commit; commit them, then promote again")
    committed = outputs_at_commit(root, "HEAD", artifact.name, artifact.path)
    if committed[0].get(artifact.path) != artifact.hash:
        raise PromotionRefused(
            f"{artifact.path}: the dvc.lock of this commit does not have it; `git add` dvc.lock, commit, promote again"
        )
    if outdated := outdated_stages(root, artifact):
        raise PromotionRefused(
            f"{', '.join(outdated)}: not up to date at this commit; run `inkflow run`, commit dvc.lock, then promote "
            "again"
        )
    return artifact


def _earlier(history: list[Assignment], holder: str) -> str | None:
    """Returns the version to which a rollback leads; rollbacks in the history take back what they took back."""
    stack: list[str] = []
    for event in history:
        if ROLLED_BACK_FROM in event.trailers and event.version in stack:
            while stack[-1] != event.version:
                stack.pop()
        elif stack[-1:] != [event.version]:
            stack.append(event.version)
    while stack and stack[-1] != holder:  # taken out of the stage by others
        stack.pop()
    return stack[-2] if len(stack) > 1 else None


def _no_single_holder(registry: Registry, model: str | None, stage: str, holders: list[ModelVersion]) -> str:
    if holders:
        names = ", ".join(sorted(item.model for item in holders))
        return f"{stage} is held by several models ({names}); name one: `inkflow rollback {stage} --model MODEL`"
    stages = sorted({name for item in registry.versions(model) for name in item.stages})
    known = f"known: {', '.join(stages)}" if stages else "no version holds one: `inkflow promote` gives one"
    return f"no version{f' of {model}' if model else ''} holds {stage}; {did_you_mean(stage, stages)}{known}"
