"""DVC, as the engine sees it: what is decided, restored and recorded goes through here.

DVC decides whether a stage is unchanged or can be restored, hashes, caches and records. Only the stage's command is
run by the engine, between `begin` and `record`, so that stages can run side by side, be watched and be ended.
Every method that reads or writes DVC's records holds DVC's own lock, and only that long: `dvc` in another terminal
works meanwhile. `flows/dvc_*.py` are the only modules that import DVC.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.hash_info import HashInfo

from flows.core.errors import DvcFailed, InputsChanged, Interrupted, PipelineInvalid, UnknownStage
from flows.dvc_repo.cache_lookup import CacheLookup
from flows.dvc_repo.dvc_facts import (
    Held,
    StageInspector,
    active_graph,
    hashes_of,
    path_of,
    run_key,
    set_hashes,
    value_of,
    whole_message,
)
from flows.dvc_repo.input_snapshot import Snapshot, changes_between, inputs_of
from flows.dvc_repo.lockfile import LockfileWriter, mend_list_of_files_in_use
from flows.dvc_repo.locking import RepoLock
from flows.dvc_repo.remote_results import Remote
from flows.dvc_repo.remotes import fetch_result
from flows.dvc_repo.stage_transfer import StageTransfer
from flows.engine.output_backup import forget, is_outdated, put_all_back, put_aside, put_back
from flows.engine.planning.change_messages import HOW_TO_GET, sentence
from flows.engine.planning.stage_facts import Facts
from flows.engine.types import Command, Outcome, Result, Stage
from stages.base.errors import OutputError

for name in ("dvc", "dvc_data", "dvc_objects"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # the engine says what DVC does; also ends its progress bars


class Repository:
    """A DVC repository with its graph, opened once for many stages."""

    def __init__(self, root: Path | str = ".", only: Collection[str] | None = None, *, pull: bool = False) -> None:
        """Open the repository at `root`.

        Args:
            root: the project's folder, or a folder in it.
            only: some of its stages; their inputs are then taken as they lie there.
            pull: outputs to restore may come from the DVC remote.
        """
        try:
            self._repo = Repo(str(root))
            mend_list_of_files_in_use(self._repo)
            self._graph: nx.DiGraph[DvcStage] = active_graph(self._repo.index.graph)
        except DvcException as error:
            raise PipelineInvalid(f"DVC cannot read the pipeline: {whole_message(error)}") from error
        except OSError as error:
            raise OutputError(error.filename or root, error) from error
        if only is not None:
            self._graph.remove_nodes_from([stage for stage in self._graph if stage.addressing not in only])
        self.root = Path(self._repo.root_dir)
        self._order: list[DvcStage] = list(nx.dfs_postorder_nodes(self._graph))
        self._by_name: dict[str, DvcStage] = {stage.addressing: stage for stage in self._order}
        self._situation = StageInspector(self._graph)
        self._pull = pull
        self._cache = CacheLookup(self._repo, self._by_name, pull=pull)
        self._recorder = LockfileWriter(self._repo, self._order)
        self._begun: dict[str, tuple[Snapshot, Held]] = {}
        self._turns = RepoLock(self._repo)

    def close(self) -> None:
        """Write what is not written yet, and let go of DVC's databases."""
        self.flush()
        self._turns.close()
        self._repo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self, say: Callable[[str], None], ended: threading.Event) -> None:
        """Have `say` hear that another process is waited for; nothing is waited for once `ended` is set."""
        self._turns.say, self._turns.ended = say, ended

    def stages(self, targets: Sequence[str] = ()) -> list[Stage]:
        """The stages that `targets` need (all when empty), each after those it waits for, in DVC's own order.

        Raises:
            UnknownStage: a target is neither a stage, a group of stages (`train`) nor an output.
        """
        wanted = [stage for target in targets for stage in self._named(target)] or self._order
        needed = set(wanted).union(*(nx.descendants(self._graph, stage) for stage in wanted))
        return [
            Stage(
                stage.addressing,
                tuple(before.addressing for before in self._graph.successors(stage)),
                tuple(str(out) for out in stage.outs),
            )
            for stage in self._order
            if stage in needed
        ]

    def named(self, targets: Sequence[str]) -> list[str]:
        """Names of the stages that `targets` name, without those that they need; all when empty."""
        return [stage.addressing for target in targets for stage in self._named(target)] or list(self._by_name)

    def facts(self, targets: Sequence[str] = ()) -> list[Facts]:
        """What DVC knows of the stages that `targets` need, in the same order."""
        with self._turns.locked():
            return [self._situation.of(self._by_name[stage.name], stage) for stage in self.stages(targets)]

    @property
    def cache(self) -> CacheLookup:
        """Answers of the cache that a plan asks for; to be asked while nothing runs."""
        return self._cache

    def settle(self, stage: Stage, *, force: bool = False) -> Result | tuple[str, ...]:
        """Result of `stage` when it need not run: unchanged, or restored just now. Else the reasons why it must run."""
        return self._turns.take(stage.name, lambda: self._settle(stage, force))

    def transfer(self, patience_s: float, ended: threading.Event) -> StageTransfer:
        """What stages on other machines need; an unreachable remote is waited for so long, or until `ended`."""
        return StageTransfer(self._repo, self._graph, self._turns.locked, patience_s, ended)

    def run_key(self, name: str) -> str:
        """The same for stages of several clones that would do the same: same command, parameters and contents."""
        with self._turns.locked():
            stage = self._by_name[name]
            with self._situation.tentative(stage):
                stage.save_deps()
                return run_key(stage)

    def metrics(self) -> dict[str, Any]:
        """Numbers in the metrics files of the workspace, by path and dotted key."""
        with self._turns.locked():
            files = self._repo.metrics.show().get("", {}).get("data", {})
        return {name: entry["data"] for name, entry in files.items() if "data" in entry}

    def begin(self, name: str) -> Command:
        """Freeze what stage `name` reads, put its earlier outputs aside, and tell its command."""
        return self._turns.take(name, lambda: self._begin(name))

    def record(self, name: str) -> None:
        """Hash and cache what stage `name` wrote, and record it in the run cache and in dvc.lock.

        Raises:
            InputsChanged: something that the stage reads is not as it was at `begin`; nothing is recorded.
        """
        self._turns.take(name, lambda: self._record(name))

    def abandon(self, name: str) -> None:
        """Clear what a failed or ended stage `name` left, and put its earlier outputs back."""
        if name in self._begun:
            self._turns.take(name, lambda: self._abandon(name), last=True)

    def expect(self, names: Sequence[str]) -> None:
        """Know which stages may be recorded in the run that begins: new ones keep the graph's order in dvc.lock."""
        put_all_back(self.root)
        self._recorder.expect([self._by_name[name] for name in names])

    def skip(self, name: str) -> None:
        """Know that stage `name` will not be recorded, so that nothing waits for its place in dvc.lock."""
        self._recorder.skip(self._by_name[name])

    def flush(self) -> None:
        """Write all that was recorded into dvc.lock; after an end that was asked for, if its turn comes soon."""
        if self._recorder.is_done:
            return
        try:
            self._turns.take("dvc.lock", self._recorder.flush, last=True)
        except Interrupted:
            self._recorder.give_up()
            self._turns.say("dvc.lock was not written: what finished is in the run cache, the next run restores it")

    def _settle(self, stage: Stage, force: bool) -> Result | tuple[str, ...]:
        dvc_stage, name = self._by_name[stage.name], stage.name
        facts = self._situation.of(dvc_stage, stage)
        changes = facts.changes
        reasons = tuple(sentence(change) for change in changes)
        if not changes and (facts.tracked or not force):
            return Result(name, Outcome.UNCHANGED)
        if facts.tracked:
            return Result(name, self._settle_tracked(dvc_stage, name), reasons)
        self._turns.see_that_free(dvc_stage)
        if force or facts.always or not self._restore(dvc_stage):
            return reasons
        return Result(name, Outcome.RESTORED, reasons)

    def _begin(self, name: str) -> Command:
        stage = self._by_name[name]
        recorded = hashes_of(stage)
        stage.save_deps()
        self._begun[name] = inputs_of(stage), recorded
        put_aside(self.root, name, [path_of(out) for out in stage.outs if not out.persist])
        stage.remove_outs()  # what persists is made writable
        lines = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
        environment = {"DVC_STAGE": name, "DVC_ROOT": str(self.root)}
        return Command(name, tuple(lines), str(Path(stage.wdir).resolve()), environment)

    def _record(self, name: str) -> None:
        stage = self._by_name[name]
        with self._recorder.ignoring(stage):
            stage.save(run_cache=False)
        (before, _), after = self._begun[name], inputs_of(stage)  # of the hashes that are recorded, not of later ones
        if changed := changes_between(before, after):
            raise InputsChanged(name, changed)
        if all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs):
            self._repo.stage_cache.save(stage)
        stage.commit()
        del self._begun[name]
        forget(self.root, name)
        self._recorder.add(stage)

    def _abandon(self, name: str) -> None:
        stage, (_, recorded) = self._by_name[name], self._begun.pop(name)
        if is_outdated(self.root, name):  # another process recorded the stage: what lies there is not ours to clear
            forget(self.root, name)
        else:
            stage.remove_outs()
            put_back(self.root, name)
        set_hashes(stage, recorded)

    def _settle_tracked(self, stage: DvcStage, name: str) -> Outcome:
        """A stage that never runs, tracked data or frozen: what is missing comes back, edits are recorded."""
        for out in stage.outs:
            if not out.exists:  # an edited one is not to be overwritten
                self._bring_back(out, name)
        if not stage.status():
            return Outcome.RESTORED
        stage.reproduce()
        self._recorder.add(stage)
        return Outcome.RECORDED

    def _bring_back(self, out: Any, name: str) -> None:
        """Check out what nobody makes; with `pull` from the remote."""
        if self._pull and out.hash_info and out.changed_cache():
            Remote(self._repo, 0.0, self._turns.ended).pull(name, [value_of(out.hash_info)])
        if out.changed_cache():
            raise DvcFailed(f"{name}: {path_of(out)} is not in the cache; {HOW_TO_GET}")
        out.checkout()

    def _restore(self, stage: DvcStage) -> bool:
        """Bring back the outputs that belong to the present inputs of `stage`, if the cache has them."""
        with self._situation.tentative(stage) as keep:
            if stage.changed_stage() or not stage.deps_cached():
                stage.save_deps()
                for out in stage.outs:
                    out.hash_info = HashInfo()  # else DVC takes the recorded outputs for those of the new inputs
            if not all(out.hash_info for out in stage.outs) and self._cache.entry(stage) is None:
                return False
            try:
                self._repo.stage_cache.restore(stage, dry=True)
            except DvcException:  # not in the run cache, or a dependency is missing, which `begin` will say
                if not (self._pull and fetch_result(self._repo, stage)):
                    return False
            with self._recorder.ignoring(stage):
                stage.run()
            keep()  # not before: a file in use ends this, and it is begun again
            self._recorder.add(stage)
            return True

    def _named(self, target: str) -> list[DvcStage]:
        if target in self._by_name:
            return [self._by_name[target]]
        group = [stage for name, stage in self._by_name.items() if name.startswith(f"{target}@")]
        path = str(Path.cwd() / target)
        owners = [stage for stage in self._order if any(str(out.fs_path) == path for out in stage.outs)]
        if not group and not owners:
            raise UnknownStage(target, list(self._by_name))
        return group or owners
