"""Retrains when the data at their source no longer match the digests in params.yaml.

    watch-data, on a schedule ── data changed? ──> event inkflow.data.changed ──> retrain-on-new-data
                                       any other sender of the event ──^

The event carries no data: each flow reads the digests from the source itself. `retrain` runs in a clone of the project;
a person decides whether params.yaml gets the new digests, with `dvc exp apply` or by merging the branch.
"""

import json
import tempfile
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.objects import State
from prefect.events import Event, Resource
from prefect.exceptions import PrefectException
from prefect.states import Completed, Failed
from prefect.variables import Variable
from ruamel.yaml.error import YAMLError

from flows.core.errors import ProgramFailed
from flows.core.file_lock import run_lock
from flows.core.git import git_text
from flows.core.own_data import finish_copies
from flows.core.params_edit import PATH as PARAMS
from flows.core.params_edit import apply_settings
from flows.core.redaction import mask
from flows.core.stage_program import run_program
from flows.core.values import counted
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.versions.experiments import ProjectClones, stage_results
from flows.dvc_repo.versions.own_file import bring_own_data
from flows.dvc_repo.versions.unfinished_work import keep_unfinished_work
from flows.engine.run import GATES, Options, Run
from flows.engine.run_record import kept_records
from flows.engine.shared_slots import SHARING
from flows.pipeline import run_stages
from flows.retraining.branch import Branch, branch_name, check_free, project_folder, write_branch
from flows.retraining.comparison import as_lines, compare_with_commit
from flows.retraining.request import Retraining, propose
from flows.scheduled import run_with_settings
from flows.status.renewal import renews_status
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_flow
from flows.tasks.remote_sync import pull_run_cache, push_here, push_results
from flows.tasks.run_name import name_run
from flows.tasks.variables import remember
from flows.workers.local_engine import start_engine
from stages.base.errors import InkflowError, InvalidInput
from stages.base.yaml_text import parse_yaml

DATA_CHANGED = "inkflow.data.changed"


class SourceDigests(NamedTuple):
    """SHA-256 of each array of a data set.

    Attributes:
        dataset: name of the data set in params.yaml.
        source: mirror or address; None for a data set that is part of a library, and cannot change.
        present: digests at the source.
        recorded: digests in params.yaml.
    """

    dataset: str
    source: str | None
    present: Mapping[str, str]
    recorded: Mapping[str, str]

    @property
    def changed(self) -> Mapping[str, str]:
        """Digests at the source that differ from params.yaml."""
        return {name: value for name, value in self.present.items() if self.recorded.get(name) != value}

    @property
    def settings(self) -> dict[str, str]:
        """The digests at the source, by their keys in params.yaml."""
        return {f"datasets.{self.dataset}.sha256.{name}": value for name, value in self.present.items()}

    @property
    def public_sentence(self) -> str:
        """The comparison in one sentence without the source, which may be a folder of this machine."""
        return f"{', '.join(self.changed)} of {self.dataset} changed at the source"

    @property
    def sentence(self) -> str:
        """The comparison in one sentence."""
        if self.source is None:
            return f"{self.dataset} is part of a library: it has no source that can change"
        names = ", ".join(self.changed)
        return f"{self.source}: {f'{names} changed' if names else f'{self.dataset} matches params.yaml'}"


def read_source_digests(dataset: str | None, root: Path = Path()) -> SourceDigests:
    """Read the digests of `dataset`, or of the chosen one if None, from the mirror if one is set, else its address.

    Changed data are prepared in a temporary folder on trial, so that data that no run could use are an error here.

    Raises:
        ProgramFailed: the source is unavailable, or has no data set that the stages `download` and `prepare` accept.
    """
    finish_copies(root)
    with tempfile.TemporaryDirectory() as folder:
        raw, prepared = Path(folder) / "raw", Path(folder) / "prepared"
        arguments: list[str | Path] = ["--out", raw, *(["--dataset", dataset] if dataset else [])]
        digests = SourceDigests(**json.loads(mask(run_program("download.source_digests", arguments, root))))
        if digests.changed:
            try:
                run_program("prepare", ["--raw", raw, "--out", prepared], root)
            except ProgramFailed as error:
                reason = str(error).replace(f"{raw}/", "")
                raise ProgramFailed(f"{digests.sentence}, but cannot be used: {reason}", error.exit_code) from error
    return digests


@own_flow("watch-data")
@renews_status
def watch_data(dataset: str | None = None) -> State[Any]:
    """Check whether the data at their source changed, and send one event `inkflow.data.changed` per change.

    Args:
        dataset: one of `datasets` in params.yaml; the chosen one if empty.
    """
    try:
        digests = read_source_digests(dataset)
    except InkflowError as error:
        return failure_state(error)
    get_run_logger().info(digests.sentence)
    changed = f"{counted(len(digests.changed), 'array')} changed" if digests.changed else "data unchanged"
    name_run(digests.dataset, changed)
    variable = f"inkflow_data_{digests.dataset.replace('-', '_').lower()}"
    if Variable.get(variable, default=None) == dict(digests.present):  # an earlier check has sent the event
        return Completed(message=digests.sentence)
    try:
        if digests.changed:
            send_event(digests)
        remember(variable, dict(digests.present))  # last: an event that was not sent is sent next time
    except (httpx.HTTPError, PrefectException) as error:
        message = f"{digests.sentence}; the server did not accept the event, the next check sends it ({error})"
        return failure_state(InkflowError(message))
    return Completed(message=f"{digests.sentence}: event sent" if digests.changed else digests.sentence)


def send_event(digests: SourceDigests) -> None:
    """Post the event to the server; Prefect's `emit_event` only queues it, and does not report that it was lost.

    Raises:
        httpx.HTTPError, PrefectException: the server did not accept it.
    """
    event = Event(
        event=DATA_CHANGED,
        resource=Resource({
            "prefect.resource.id": f"inkflow.dataset.{digests.dataset}",
            "prefect.resource.name": digests.dataset,
        }),
        payload={"source": digests.source, "sha256": dict(digests.present)},
    )  # fmt: skip
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


@own_flow("retrain")
@renews_status
def retrain(
    dataset: str | None = None, fallback: str | None = None, push: bool = True, branch: bool = False
) -> State[Any]:
    """Bring the stages up to date with the digests of the data at their source, and record a DVC experiment.

    Args:
        dataset: one of `datasets` in params.yaml; the chosen one if empty.
        fallback: data set to use if this one becomes unavailable before it is downloaded.
        push: push outputs and run cache to DVC's default remote, if there is one.
        branch: commit the result to a branch `retrain/...` in place of an experiment, and open a pull or merge request
            for it, where Git has a remote and the environment the token of a forge.
    """
    try:
        digests = read_source_digests(dataset)
        get_run_logger().info(digests.sentence)
        if not digests.changed:
            return Completed(name="Cached", message=f"nothing to do: {digests.sentence}")
        chosen = _committed_dataset(Path()) if branch else None
        if chosen == digests.dataset:
            return _retrain_to_branch(digests, fallback, push)
    except InkflowError as error:
        return failure_state(error)
    if branch:
        get_run_logger().warning(
            f"no branch is made, but an experiment: the committed params.yaml chooses {chosen}, not {digests.dataset}"
        )
    edits = digests.settings | {"dataset": digests.dataset}
    state = run_with_settings(edits, Run(options=Options(pull=pull_run_cache()), fallback=fallback))
    return push_results(state) if push else state


def _committed_dataset(root: Path) -> object:
    """Return the data set that params.yaml chooses at the commit that is checked out; None if it chooses none."""
    try:
        params = parse_yaml(git_text(["show", f"HEAD:./{PARAMS}"], root))
    except (YAMLError, ValueError) as error:
        raise InvalidInput(f"the committed {PARAMS} cannot be read: {error}; commit a readable one") from error
    return params.get("dataset") if isinstance(params, dict) else None


def _retrain_to_branch(digests: SourceDigests, fallback: str | None, push: bool) -> State[Any]:
    """Run the stages with new digests in a clone of the commit, and make a branch of the result.

    Raises:
        InkflowError: the project cannot be cloned, or the branch cannot be made.
    """
    if fallback:
        raise InvalidInput(f"fallback {fallback}: a branch is for the new data themselves; leave out one of the two")
    root, log = Path.cwd(), get_run_logger()
    name = branch_name(root, digests.dataset, digests.present)
    check_free(root, name)
    clones = ProjectClones(root, committed=True, experiments=False)
    clones.folder.mkdir(parents=True, exist_ok=True)
    run = Run(options=Options(pull=pull_run_cache()), in_clone=True, sharing=root / SHARING)
    with run_lock(clones.folder, run.display.note):
        clones.remove_leftovers()
        with clones.clone("run") as project, kept_records(project, root):
            clones.copy_origin(project)
            keep_unfinished_work(project, root)
            with chdir(project):
                run.params = apply_settings(digests.settings, Path())
                bring_own_data(root, Path(), run.params)
                state = run_stages(start_engine(run))
                if set(run.errors) - {GATES}:
                    return state
                made = _commit(root, name, clones.commit, digests)
                if made is None:
                    return state.model_copy(update={"message": f"{state.message}; the result is as committed"})
                branch, done = made
                log.info("\n".join(as_lines(done.comparison)))
                where = f"{state.message}; committed to the branch {branch.name} in {root}"
                pushed = push_here() if push else None
    if pushed is not None and not pushed.is_completed():
        return Failed(message=f"{where}; it is only here, since its files were not pushed: {pushed.message}")
    if not push:
        return state.model_copy(update={"message": f"{where}; it is only here, since push is false"})
    files = "Its files are in the DVC remote" if pushed else "No DVC remote is configured: its files are on one machine"
    try:
        message = f"{where}; {propose(root, branch, replace(done, remote=files))}"
    except InkflowError as error:
        return Failed(message=mask(f"{where}; {error}"))
    return state.model_copy(update={"message": mask(message)})


def _commit(root: Path, name: str, base: str, digests: SourceDigests) -> tuple[Branch, Retraining] | None:
    """Commit the results in the current folder, a clone, to the branch; return None if they are those of `base`."""
    with Repository() as repository:
        outputs = [output for stage in repository.stages([]) for output in stage.outputs]
    tree = stage_results(outputs)
    if tree == git_text(["rev-parse", f"{base}^{{tree}}"], root):
        return None
    comparison = compare_with_commit(Path(), base)
    done = Retraining(digests.dataset, project_folder(root), digests.public_sentence, comparison)
    digest = name.rpartition("-")[2]
    return write_branch(root, Path(), name, base, tree, done.commit_message, digest), done
