"""Writes dvc.lock atomically, seldom and in DVC's own order, and repairs DVC's `rwlock`."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import networkx as nx
from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.lock import make_lock
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage import Stage as DvcStage

from flows.core.notices import note_once
from stages.base.files import write_text

MAX_WRITE_SHARE = 0.1  # of the run's time; a lock file of a hundred stages takes a fifth of a second


class LockfileWriter:
    """Collects finished stages and writes them into dvc.lock.

    New entries are written in the order of the graph, whatever the order in which the stages finish: an entry waits
    until those before it are written. Meanwhile, the run cache has the result.
    """

    def __init__(self, repo: Repo, order: Sequence[DvcStage]) -> None:
        self._repo = repo
        self._positions = {stage: number for number, stage in enumerate(order)}
        self._expected: list[DvcStage] = []  # stages without an entry in dvc.lock
        self._finished: list[DvcStage] = []  # stages to write
        self._ignore_positions: dict[Path, dict[str, int]] = {}  # of the lines that this run added to each .gitignore
        self._written_at = 0.0
        self._write_s = 0.0

    def expect(self, stages: Sequence[DvcStage]) -> None:
        """Reserve the places of those `stages` that have no entry in dvc.lock yet."""
        self._expected = [stage for stage in stages if isinstance(stage, PipelineStage) and not _is_recorded(stage)]

    @contextmanager
    def ordered_gitignore(self, stage: DvcStage) -> Iterator[None]:
        """Keep the lines that DVC adds to .gitignore in the block in the order of the graph, as `dvc repro` would.

        The order matters to a stage that reads the whole folder, .gitignore included.
        """
        before = {path: _lines(path) for path in {Path(out.fs_path).with_name(".gitignore") for out in stage.outs}}
        yield
        for path, old in before.items():
            lines, positions = _lines(path), self._ignore_positions.setdefault(path, {})
            if lines != old:
                positions |= dict.fromkeys(lines[len(old) :], self._positions[stage])
                ordered = sorted(lines, key=lambda line: positions.get(line, -1))
                write_text(path, "".join(f"{line}\n" for line in ordered))

    def add(self, stage: DvcStage) -> None:
        """Add a finished stage, which is written now or later."""
        if not isinstance(stage, PipelineStage):
            stage.dump(update_pipeline=False)
            return
        self._finished.append(stage)
        if time.monotonic() - self._written_at >= self._write_s / MAX_WRITE_SHARE:
            self._write(self._writable())

    def skip(self, stage: DvcStage) -> None:
        """Release the place of a stage that was unchanged, failed, or is not part of this run."""
        if stage in self._expected:
            self._expected.remove(stage)

    @property
    def is_empty(self) -> bool:
        """True when no stage waits to be written."""
        return not self._finished

    def discard(self) -> None:
        """Discard the stages that are not written yet."""
        self._finished.clear()

    def flush(self) -> None:
        """Write all finished stages, those before which others are missing too."""
        self._write(self._finished)

    def _writable(self) -> list[DvcStage]:
        """Finished stages that have an entry already, or whose predecessors are all finished."""
        missing = [self._positions[stage] for stage in self._expected if stage not in self._finished]
        limit = min(missing, default=len(self._positions))
        return [stage for stage in self._finished if stage not in self._expected or self._positions[stage] < limit]

    def _write(self, stages: Sequence[DvcStage]) -> None:
        if not stages:
            return
        started = time.monotonic()
        for dvc_file in {stage.path for stage in stages}:
            own = [stage for stage in stages if stage.path == dvc_file]
            self._write_file(Path(dvc_file).with_suffix(".lock"), sorted(own, key=self._positions.__getitem__))
        written = set(stages)
        self._finished = [stage for stage in self._finished if stage not in written]
        self._expected = [stage for stage in self._expected if stage not in written]
        self._written_at = time.monotonic()
        self._write_s = self._written_at - started

    def _write_file(self, target: Path, stages: list[DvcStage]) -> None:
        temporary = target.with_name(f".{target.name}.new")
        temporary.unlink(missing_ok=True)  # a killed run may have left an incomplete one
        if target.exists():
            shutil.copyfile(target, temporary)
        Lockfile(self._repo, str(temporary)).dump_stages(stages)
        temporary.replace(target)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _is_recorded(stage: DvcStage) -> bool:
    return any(entry.hash_info for entry in [*stage.deps, *stage.outs])


def load_graph(repo: Repo) -> "nx.DiGraph[DvcStage]":
    """Return the graph of the project; remove lock files without any content, on which DVC fails.

    A full disk or a power failure leaves such a file. The run cache still has the results.
    """
    graph: nx.DiGraph[DvcStage]
    try:
        graph = repo.index.graph
    except DvcException:
        paths = [path for path in Path(repo.root_dir).rglob("dvc.lock") if not path.read_bytes().strip()]
        if not paths:
            raise
        for path in paths:
            note_once(f"{path.relative_to(repo.root_dir)} was empty, and is removed")
            path.unlink()
        repo._reset()
        graph = repo.index.graph
    return graph


def repair_rwlock(repo: Repo) -> None:
    """Remove DVC's list of files in use if a killed process left it incomplete: DVC would fail on it."""
    path = Path(repo.tmp_dir) / "rwlock"
    if not path.exists():
        return
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with make_lock(f"{path}.lock", tmp_dir=repo.tmp_dir, hardlink_lock=hardlink):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            path.unlink()
        except FileNotFoundError:
            return
