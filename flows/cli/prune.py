"""`inkflow prune`: frees what old runs left, and never what a version of the project needs."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from flows.cli.arguments import DEFAULT_AGE, SIZES, age
from flows.core.file_lock import only_run_here
from flows.dvc_repo.experiments import FOLDER as CLONES
from flows.dvc_repo.run_cache_gc import Cache, Entry, held_cache, needed
from flows.engine.recovery import put_in_order
from flows.prefect_server.old_runs import Records, prune_records
from stages.base.errors import EXIT_DONE, InvalidInput

LEFT = (Path(".inkflow/checkpoints"), Path(".inkflow/downloads"), Path(".inkflow/up/storage"))


@dataclass(frozen=True)
class Chosen:
    """What goes of the cache, and how large the cache is before and after."""

    entries: tuple[Entry, ...]
    objects: tuple[Path, ...]
    before: int
    after: int


@dataclass(frozen=True)
class Pruned:
    """What went, or would go."""

    dry_run: bool
    run_cache_entries: int
    cache_objects: int
    cache_bytes: int
    cache_bytes_left: int
    left_files: int
    left_bytes: int
    flow_runs: int
    prefect_note: str | None  # why Prefect's records could not be looked at


def prune(arguments: argparse.Namespace) -> int:
    """Free what is old, then the oldest until the cache is small enough; the exit code.

    Raises:
        InvalidInput: the cache may belong to others too, or git cannot say what is needed; nothing was removed.
    """
    root = Path().resolve()
    unlimited = arguments.older_than is None and arguments.keep_size is not None
    old = None if unlimited else (arguments.older_than if arguments.older_than is not None else age(DEFAULT_AGE))
    say = (lambda _: None) if arguments.json else print
    projects = sorted({root, *(path.resolve() for path in arguments.also_for)})
    with ExitStack() as held:
        for project in projects:
            held.enter_context(_held(project, say))
        put_in_order(root)
        with held_cache(root) as cache:
            _check_sharing(cache, root, arguments.also_for)
            kept = frozenset().union(*(needed(project) for project in projects))
            chosen = choose(cache, cache.opened(kept), old, arguments.keep_size)
            left = _left(root, old)
            if not arguments.dry_run:  # entries first: one without its objects would only be found wanting
                cache.remove([entry.path for entry in chosen.entries])
                cache.remove(chosen.objects)
        left_bytes = sum(path.stat().st_size for path in left)
        if not arguments.dry_run:
            for path in left:
                path.unlink(missing_ok=True)
    records = prune_records(root, old, arguments.dry_run) if old is not None else Records(0, None)
    done = Pruned(
        arguments.dry_run, len(chosen.entries), len(chosen.objects), chosen.before - chosen.after, chosen.after,
        len(left), left_bytes, records.flow_runs, records.note,
    )  # fmt: skip
    print(json.dumps(asdict(done), indent=2) if arguments.json else _sentences(done, records))
    return EXIT_DONE


@contextmanager
def _held(project: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Nobody runs in a project that uses the cache: what is at work is named by no branch yet."""
    places = [project, project / CLONES] if (project / ".dvc").is_dir() else []  # CLONES are those of a sweep
    with ExitStack() as held:
        for place in places:
            if place.is_dir():
                held.enter_context(only_run_here(place, say))
        yield


def choose(cache: Cache, kept: frozenset[str], old: timedelta | None, keep_size: int | None) -> Chosen:
    """Which entries go, oldest first: all that are `old`, and more while the cache is larger than `keep_size`.

    An entry whose outputs are all `kept` stays: it costs nothing, and finds them by their inputs.
    """
    entries = cache.entries()
    users = Counter(name for entry in entries for name in entry.outputs)
    latest = None if old is None else time.time() - old.total_seconds()
    before = left = cache.size()
    gone: list[Entry] = []
    objects: list[Path] = []
    for entry in entries:
        if entry.outputs and entry.outputs <= kept:
            continue
        is_old = latest is not None and entry.made <= latest
        if not is_old and (keep_size is None or left <= keep_size):
            continue
        users.subtract(entry.outputs)
        freed = [path for name in entry.outputs - kept if not users[name] for path in cache.files(name)]
        left -= sum(path.stat().st_size for path in [entry.path, *freed])
        gone.append(entry)
        objects += freed
    return Chosen(tuple(gone), tuple(objects), before, left)


def _check_sharing(cache: Cache, root: Path, others: Sequence[Path]) -> None:
    if not others and not cache.folder.resolve().is_relative_to(root):
        raise InvalidInput(
            f"the cache {cache.folder} lies outside of this project, so others may use it too; name each of them "
            "with --also-for PATH, or `--also-for .` when there is none"
        )


def _left(root: Path, old: timedelta | None) -> list[Path]:
    """Files beside the cache that nobody touched for longer than `old`."""
    latest = time.time() - (timedelta.max if old is None else old).total_seconds()
    found = [path for folder in LEFT for path in (root / folder).rglob("*") if path.is_file()]
    return [path for path in found if path.stat().st_mtime <= latest]


def _sentences(done: Pruned, records: Records) -> str:
    went = "would go" if done.dry_run else "went"
    lines = [
        f"run cache: {done.run_cache_entries} entries with {done.cache_objects} objects {went}, "
        f"{_shown(done.cache_bytes)}; {_shown(done.cache_bytes_left)} stay",
        f"checkpoints, unfinished downloads, results: {done.left_files} files {went}, {_shown(done.left_bytes)}",
        f"Prefect: {done.flow_runs} flow runs {went}" if records.note is None else f"Prefect: {records.note}",
    ]
    return "\n".join(lines)


def _shown(count: int) -> str:
    unit = next((unit for unit, value in reversed(SIZES.items()) if count >= value), "")
    return f"{count / SIZES[unit]:.3g} {unit}B"
