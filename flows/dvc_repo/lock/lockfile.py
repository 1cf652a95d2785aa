"""Writes dvc.lock: each finished stage at once, atomically and in DVC's own order; and repairs DVC's `rwlock`."""

import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.exceptions import DvcException
from dvc.lock import LockError, make_lock
from dvc.repo import Repo
from dvc.scm import NoSCM
from dvc.stage import PipelineStage
from dvc.stage import Stage as DvcStage
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml, loads_yaml, modify_yaml
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from flows.core.errors import NoStages, PipelineInvalid
from flows.core.notices import note_once
from flows.dvc_repo.lock.lock_text import EMPTY, LockText
from flows.edits.edited_file import write_edited_bytes
from flows.engine.processes.process_trees import lives
from stages.base.digests import recorded_outputs
from stages.base.errors import OutputError
from stages.base.files import parse_json, write_json, write_text

UNUSABLE = re.compile("[\0\ud800-\udfff]")  # YAML can name them; no process and no file of text can have them
_opened: set[tuple[int, Path]] = set()  # process id and list of files in use of the projects that this process opened


class LockfileWriter:
    """Writes each finished stage into dvc.lock at once, so that neither a kill nor `dvc gc` loses its result.

    New entries get the order of the graph, whatever the order in which the stages finish: a stage that finishes late
    is inserted before those that come after it in the graph. A run that is killed leaves the names of its new entries
    in a file, so that the next run puts the missing ones between them.
    """

    def __init__(
        self, repo: Repo, order: Sequence[DvcStage], own_write: Callable[[Path], AbstractContextManager[None]]
    ) -> None:
        """Creates the writer; it writes each file in a block of `own_write`."""
        self._repo = repo
        self._own_write = own_write
        self._positions = {stage: number for number, stage in enumerate(order)}
        self._new: dict[Path, dict[str, int]] = {}  # positions of the entries that this run adds to each dvc.lock
        self._written: dict[Path, tuple[str, LockText]] = {}  # the last text of each dvc.lock, and its parts
        self._names_file = Path(repo.tmp_dir) / "inkflow_new_entries.json"
        self._ignore_positions: dict[Path, dict[bytes, int]] = {}  # of the lines that this run added to each .gitignore

    def expect(self, stages: Sequence[DvcStage]) -> None:
        """Prepare a run in which `stages` may be recorded."""
        earlier: set[str] = set()
        with suppress(OSError, ValueError, LookupError, TypeError):
            earlier = set(parse_json(self._names_file.read_text(encoding="utf-8"))["stages"])
        pipeline = [stage for stage in stages if isinstance(stage, PipelineStage)]
        recorded = {path: _recorded_names(path) for path in {lock_path(stage) for stage in pipeline}}
        new = [stage for stage in pipeline if stage.name not in recorded[lock_path(stage)]]
        new += [stage for stage in self._positions if stage.addressing in earlier and stage not in new]
        for stage in new:
            self._new.setdefault(lock_path(stage), {})[stage.name] = self._positions[stage]
        if new:
            write_json(self._names_file, {"stages": [stage.addressing for stage in new]})

    @contextmanager
    def ordered_gitignore(self, stage: DvcStage) -> Iterator[None]:
        """Keep the lines that DVC adds to .gitignore in the block in the order of the graph, as `dvc repro` would.

        The order matters to a stage that reads the whole folder, .gitignore included. A line of another writer stays
        behind the line that it follows: its meaning may depend on it.
        """
        outs = [out for out in stage.outs if out.protocol == "local"]
        before = {path: _lines(path) for path in {Path(out.fs_path).with_name(".gitignore") for out in outs}}
        yield
        for path, old in before.items():
            lines, positions = _lines(path), self._ignore_positions.setdefault(path, {})
            if lines != old:
                positions |= dict.fromkeys(lines[len(old) :], self._positions[stage])
                keys = list(accumulate((positions.get(line) for line in lines), _own_or_earlier, initial=-1))[1:]
                ordered = [line for _, line in sorted(zip(keys, lines, strict=True), key=itemgetter(0))]
                end = b"\r\n" if b"\r\n" in path.read_bytes() else b"\n"
                write_edited_bytes(path, b"".join(line + end for line in ordered))

    def add(self, stage: DvcStage) -> None:
        """Write the entry of a finished stage."""
        if not isinstance(stage, PipelineStage):
            stage.dump(update_pipeline=False)
            return
        path, entry = lock_path(stage), to_lockfile(stage)
        new = self._new.get(path, {})
        later = {name for name, position in new.items() if position > self._positions[stage]}
        text = path.read_text(encoding="utf-8") if path.exists() else EMPTY
        before = self._parts(path, text or EMPTY)
        parts = before and before.with_entry(stage.name, dumps_yaml({"stages": entry}).partition("\n")[2], later)
        changed = None if parts is None else str(parts)
        if changed == text or (changed is None and _has_entry(text, stage.name, entry[stage.name])):
            return  # a kill while the file is written again would leave a temporary one, which no later run replaces
        temporary = path.with_name(f".{path.name}.new")  # a killed run may have left an incomplete one
        temporary.write_text(text if changed is None else changed, encoding="utf-8", newline="\n")
        if changed is None:
            _put_entry_slowly(temporary, stage.name, entry[stage.name], later)
        if path.exists():
            shutil.copymode(path, temporary)
        with self._own_write(path):
            temporary.replace(path)
        if parts is not None and changed is not None:
            self._written[path] = changed, parts
        self._repo.scm_context.track_file(os.path.relpath(path))

    def _parts(self, path: Path, text: str) -> LockText | None:
        """Return the parts of `text`, the content of `path`: those of the last entry if nobody changed the file."""
        written, parts = self._written.get(path, (None, None))
        return parts if written == text else LockText.parse(text)

    def finish(self) -> None:
        """End the run, which was not killed; with `core.autostage`, stage the changed files of DVC in git."""
        if self._new:
            self._names_file.unlink(missing_ok=True)
        context = self._repo.scm_context
        if context.autostage and not isinstance(context.scm, NoSCM):
            context.track_changed_files()
        context.files_to_track = set()


def _put_entry_slowly(path: Path, name: str, entry: object, later: Collection[str]) -> None:
    """Write an entry like `LockText.with_entry`, into a file of any form that DVC can read."""
    with modify_yaml(str(path)) as content:
        content["schema"] = "2.0"
        stages = content["stages"] = content.get("stages") or CommentedMap()
        if name in stages:
            stages[name] = entry
        else:
            stages.insert(next((n for n, other in enumerate(stages) if other in later), len(stages)), name, entry)


def entry_texts(path: Path) -> Mapping[str, str]:
    """Return the entries of the dvc.lock at `path` by name, each as YAML."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = LockText.parse(text)
    if parts is not None:
        return parts.entries
    content = loads_yaml(text) or {}
    return {name: dumps_yaml({name: entry}) for name, entry in (content.get("stages") or {}).items()}


def lock_path(stage: DvcStage) -> Path:
    """Path of the dvc.lock that has the stage's entry; of the file itself if it is a link."""
    return Path(stage.path).with_suffix(".lock").resolve()


def _recorded_names(path: Path) -> Collection[str]:
    """Names of the entries in a dvc.lock; without DVC's lock, so that it can be incomplete, which costs the order."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = LockText.parse(text)
    if parts is not None:
        return parts.entries
    with suppress(YAMLError, AttributeError):
        return (loads_yaml(text) or {}).get("stages") or {}
    return ()


def _lines(path: Path) -> list[bytes]:
    """Lines of a .gitignore, which may be in any encoding; bytes have no other ends of lines than CR and LF."""
    return path.read_bytes().splitlines() if path.exists() else []


def _own_or_earlier(earlier: int, own: int | None) -> int:
    return earlier if own is None else own


def _has_entry(text: str, name: str, entry: Any) -> bool:
    """True if a dvc.lock in another form than DVC's has this entry already."""
    content = loads_yaml(text)
    stages = content.get("stages") if isinstance(content, Mapping) else None
    return isinstance(stages, Mapping) and stages.get(name) == entry


def load_graph(repo: Repo) -> "nx.DiGraph[DvcStage]":
    """Return the graph of the project; remove lock files without any content, on which DVC fails.

    A full disk or a power failure leaves such a file. The run cache still has the results. DVC writes dvc.lock in
    place: if it cannot be read, it is read again with DVC's lock, since another process may be writing it.

    Raises:
        NoStages: dvc.yaml has none, and dvc.lock records some.
        PipelineInvalid: a name or command of a stage has a character that no process and no file can have.
    """
    graph: nx.DiGraph[DvcStage]
    try:
        graph = repo.index.graph
    except DvcException:
        with ExitStack() as held:
            with suppress(LockError):  # held for longer than a write takes: the file is complete by now
                held.enter_context(repo.lock)
                for path in _empty_lock_files(repo):
                    note_once(f"{path.relative_to(repo.root_dir)} was empty, and is removed")
                    path.unlink()
            repo._reset()
            graph = repo.index.graph
    if not graph and (recorded := recorded_outputs(Path(repo.root_dir))):
        raise NoStages(len(recorded))
    for stage in graph:
        _check_characters(stage)
    return graph


def _check_characters(stage: DvcStage) -> None:
    command = stage.cmd if isinstance(stage.cmd, str) else "\n".join(stage.cmd or ())
    for kind, text in (("name", stage.addressing), ("command", command)):
        if UNUSABLE.search(text):
            raise PipelineInvalid(f"{stage.relpath}: the {kind} {text!r} has NUL or half a character; leave that out")


def _empty_lock_files(repo: Repo) -> list[Path]:
    """Return the lock files without content, except those in clones of the project."""
    paths = [path for path in Path(repo.root_dir).rglob("dvc.lock") if Path(str(repo.dvc_dir)) not in path.parents]
    return [path for path in paths if not path.read_bytes().strip()]


def repair_rwlock(repo: Repo) -> None:
    """Remove from DVC's list of files in use what killed processes left; all of it if one left it incomplete.

    DVC fails on an incomplete list. It removes an entry of a dead process only when another one wants to write the
    file, and takes the file for one in use as soon as another process has the id. This process may have it: its own
    entries are those of a dead one when it opens the project for the first time.
    """
    path = Path(repo.tmp_dir) / "rwlock"
    opening = (os.getpid(), path)
    if path.exists():
        hardlink = repo.config["core"].get("hardlink_lock", False)
        with make_lock(f"{path}.lock", tmp_dir=repo.tmp_dir, hardlink_lock=hardlink):
            _repair(path, dead=() if opening in _opened else (os.getpid(),))
    _opened.add(opening)


def _repair(path: Path, dead: Collection[int]) -> None:
    """Repair the list of files in use at `path`, in which the process ids `dead` are those of dead processes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        written_s = path.stat().st_mtime
    except (ValueError, RecursionError):
        path.unlink()
        return
    except FileNotFoundError:
        return

    def is_living(info: dict[str, Any]) -> bool:
        return (pid := int(info["pid"])) not in dead and lives(pid, written_s, str(info["cmd"]))

    # a list of another form is one that DVC does not accept, and says so; a project may be read-only
    with suppress(LookupError, TypeError, AttributeError, ValueError, OverflowError, OutputError):
        if (living := _living_entries(content, is_living)) != content:
            write_text(path, json.dumps(living))


def _living_entries(
    content: dict[str, dict[str, Any]], is_living: Callable[[dict[str, Any]], bool]
) -> dict[str, dict[str, Any]]:
    """Return the entries of a list of files in use whose processes live: several for a file that is read."""
    readers = {path: [info for info in infos if is_living(info)] for path, infos in content.get("read", {}).items()}
    writers = {path: info for path, info in content.get("write", {}).items() if is_living(info)}
    living = {"read": {path: infos for path, infos in readers.items() if infos}, "write": writers}
    return content | {kind: living[kind] for kind in living if kind in content}
