"""Files in which DVC keeps its records: dvc.lock, written whole or not at all, few times, and in DVC's own order."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.lock import make_lock
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage import Stage as DvcStage

from stages.base.files import write_text

FLUSH_SHARE = 0.1  # of the time at most goes into writing: a lock file of a hundred stages takes a fifth of a second


class LockfileWriter:
    """Collects finished stages and writes them into dvc.lock.

    New entries are written in the order of the graph, whatever the order in which they finished: an entry waits
    until those before it are there. Until it is written, the run cache remembers the result.
    """

    def __init__(self, repo: Repo, order: Sequence[DvcStage]) -> None:
        self._repo = repo
        self._order = {stage: number for number, stage in enumerate(order)}
        self._awaited: list[DvcStage] = []
        self._finished: list[DvcStage] = []
        self._ignored: dict[Path, dict[str, int]] = {}  # lines that this run added, each with its stage's place
        self._written_at = 0.0
        self._cost_s = 0.0

    def expect(self, stages: Sequence[DvcStage]) -> None:
        """Know which stages may come; those without an entry yet keep their places."""
        self._awaited = [stage for stage in stages if isinstance(stage, PipelineStage) and not _is_recorded(stage)]

    @contextmanager
    def ignoring(self, stage: DvcStage) -> Iterator[None]:
        """While DVC saves `stage`: what it adds to .gitignore ends in the order of the graph, as with `dvc repro`.

        A folder that another stage reads whole may have that file in it.
        """
        before = {path: _lines(path) for path in {Path(out.fs_path).with_name(".gitignore") for out in stage.outs}}
        yield
        for path, old in before.items():
            lines, turns = _lines(path), self._ignored.setdefault(path, {})
            if lines != old:
                turns |= dict.fromkeys(lines[len(old) :], self._order[stage])
                ordered = sorted(lines, key=lambda line: turns.get(line, -1))
                write_text(path, "".join(f"{line}\n" for line in ordered))

    def add(self, stage: DvcStage) -> None:
        """Take a finished stage; it is written now or soon."""
        if not isinstance(stage, PipelineStage):
            stage.dump(update_pipeline=False)
            return
        self._finished.append(stage)
        if time.monotonic() - self._written_at >= self._cost_s / FLUSH_SHARE:
            self._write(self._in_turn())

    def skip(self, stage: DvcStage) -> None:
        """Wait no longer for a stage: it was unchanged, failed, or is not part of this run."""
        if stage in self._awaited:
            self._awaited.remove(stage)

    @property
    def is_done(self) -> bool:
        """True when nothing waits to be written."""
        return not self._finished

    def give_up(self) -> None:
        """Leave unwritten what is not written yet."""
        self._finished.clear()

    def flush(self) -> None:
        """Write all finished stages, also those before which others are missing."""
        self._write(self._finished)

    def _in_turn(self) -> list[DvcStage]:
        """Finished stages that have an entry already, or before which no new one is still to come."""
        missing = [self._order[stage] for stage in self._awaited if stage not in self._finished]
        limit = min(missing, default=len(self._order))
        return [stage for stage in self._finished if stage not in self._awaited or self._order[stage] < limit]

    def _write(self, stages: Sequence[DvcStage]) -> None:
        if not stages:
            return
        started = time.monotonic()
        for folder_file in {stage.path for stage in stages}:
            mine = [stage for stage in stages if stage.path == folder_file]
            self._write_file(Path(folder_file).with_suffix(".lock"), sorted(mine, key=self._order.__getitem__))
        written = set(stages)
        self._finished = [stage for stage in self._finished if stage not in written]
        self._awaited = [stage for stage in self._awaited if stage not in written]
        self._written_at = time.monotonic()
        self._cost_s = self._written_at - started

    def _write_file(self, target: Path, stages: list[DvcStage]) -> None:
        temporary = target.with_name(f".{target.name}.new")
        temporary.unlink(missing_ok=True)  # a killed run may have left half of one
        if target.exists():
            shutil.copyfile(target, temporary)
        Lockfile(self._repo, str(temporary)).dump_stages(stages)
        temporary.replace(target)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _is_recorded(stage: DvcStage) -> bool:
    return any(entry.hash_info for entry in [*stage.deps, *stage.outs])


def mend_list_of_files_in_use(repo: Repo) -> None:
    """Remove DVC's `rwlock` where a process was killed while it wrote it: DVC would refuse to work from then on."""
    path = Path(repo.tmp_dir) / "rwlock"
    if not path.exists():
        return
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with make_lock(f"{path}.lock", tmp_dir=repo.tmp_dir, hardlink_lock=hardlink):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            path.unlink()
        except FileNotFoundError:
            return
