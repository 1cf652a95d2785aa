"""Damaged files of DVC and of Inkflow's own state, and the commands that read them."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.engine.output_backup import backup_outputs
from stages.base.digests import file_md5, recorded_outputs
from tests.conftest import DIAMOND, Toy
from tests.support.code_history import commit
from tests.torture.conftest import Rounds, Try
from tests.torture.support.damage import DAMAGES, comparable, problem, write_damage
from tests.torture.support.forked import Forked, Outcome, forking
from tests.torture.support.kinds import unnamed
from tests.torture.support.snapshot import Snapshot

SEED = 17
FEW = 8  # kinds of files in `make test`
OUTPUTS = ("out", "left", "right", "joined", "tree/a", "tree/b", "shown")
TREE = """  tree:
    cmd: echo >> tree.runs; mkdir -p tree; cp out tree/a; python code.py > tree/b
    deps: [out, code.py]
    outs: [tree]
  shown:
    cmd: python show.py > shown
    deps: [show.py]
    params: [knobs]
    outs: [shown]
"""
SHOW = """from ruamel.yaml import YAML

with open("params.yaml", "rb") as file:
    print(YAML(typ="safe").load(file)["knobs"])
"""
UNCOMPARED = ("dvc.lock", "environment.lock", ".gitignore", ".dvcignore")  # they keep entries of stages that are gone
INPUTS = ("dvc.yaml", "params.yaml", "in", "code.py", "show.py", "execution.yaml", ".dvc/config")
READERS = {
    "plan": ("plan",),
    "status": ("status",),
    "runs": ("report", "--runs", "--json"),
    "run": ("run", "--no-server", "--jobs=1"),  # of two stages that fail, the same one is the first
    "prune": ("prune", "--older-than", "1d", "--dry-run"),
}
SHOWS_CHANGES = {"plan", "run"}  # another output is how they notice; what `run` made is compared by itself
CACHE = ".dvc/cache"


class Kind(NamedTuple):
    """Files of one kind, by a pattern; the commands that read them; what has happened to the project before.

    Attributes:
        pattern: below the project.
        readers: keys of READERS.
        before: changes the project before the damage.
        others: valid contents of other files.
        shows: readers whose output is the content of the file, so that another one is another output.
        called: what messages call such a file, instead of its name.
        decides: its content decides what a run makes, so that a run is compared with that of a new project.
    """

    pattern: str
    readers: tuple[str, ...]
    before: Callable[[Path], None] = lambda root: None
    others: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    decides: bool = False


def without_outputs(root: Path) -> None:
    """Removes all outputs, which a run restores from the cache."""
    for name in OUTPUTS:
        (root / name).unlink()


def without_lock(root: Path) -> None:
    """Removes outputs and dvc.lock: a run finds the results by their inputs."""
    without_outputs(root)
    (root / "dvc.lock").unlink()


def killed(root: Path) -> None:
    """Leaves the backup of the outputs of a stage, as a run does that is killed."""
    backup_outputs(root, "join", ["joined"])


def interrupted(root: Path) -> None:
    """Leaves the names of the entries that a killed run was about to add."""
    (root / ".dvc/tmp/inkflow_new_entries.json").write_text('{"stages": ["join"]}')


def edited(root: Path) -> None:
    """Changes a comment in the code of a stage: its earlier content says that nothing else has changed."""
    (root / "code.py").write_text((root / "code.py").read_text() + "# a comment\n")


SHOWN, RUNS = ("plan", "run"), ("runs",)
KINDS = {
    "dvc.lock": Kind("dvc.lock", (*SHOWN, "runs"), others=("{}", "schema: '2.0'\nstages: {}\n"), shows=RUNS),
    "dvc.yaml": Kind("dvc.yaml", (*SHOWN, "runs"), others=("stages: {}\n", "[]"), shows=RUNS, decides=True),
    "params.yaml": Kind(
        "params.yaml", (*SHOWN, "runs"), others=("[]", "knobs: {speed: 2}\n"), shows=RUNS, decides=True
    ),
    "execution.yaml": Kind("execution.yaml", SHOWN, others=("[]",)),
    "digest of a valid execution.yaml": Kind(".inkflow/execution.sha256", ("run",), others=("0" * 64,)),
    "environment.lock": Kind("environment.lock", SHOWN, others=("[]", "{}")),
    "configuration of DVC": Kind(".dvc/config", (*SHOWN, "runs", "status"), others=("[core]\n    remote = none\n",)),
    "objects of the cache": Kind(f"{CACHE}/files/md5/??/*", ("run", "runs"), without_outputs),
    "lists of folders in the cache": Kind(f"{CACHE}/files/md5/??/*.dir", (*SHOWN, "prune"), without_outputs, ("[]",)),
    "entries of the run cache": Kind(f"{CACHE}/runs/*/*/*", (*SHOWN, "prune"), without_lock, ("{}", "[]")),
    "environments of results": Kind(f"{CACHE}/environments/*", SHOWN, without_lock, ("[]", "{}")),
    "durations": Kind(".inkflow/timings.json", (*SHOWN, "status"), others=("[]", '{"join": [1e308]}', '{"join": 1}')),
    "records of runs": Kind(
        ".inkflow/runs/*.jsonl", ("runs", "status", "run"), others=("null\n", '{"event": 1}\n'), shows=RUNS
    ),
    "lists of backups": Kind(".inkflow/aside/*/paths.json", SHOWN, killed, ("[]", '{"paths": 1}')),
    "files in use": Kind(".dvc/tmp/rwlock", (*SHOWN, "status"), others=("[]", '{"write": []}', '{"read": {"a": 1}}')),
    "names of new entries": Kind(
        ".dvc/tmp/inkflow_new_entries.json", SHOWN, interrupted, ("[]", "{}", '{"stages": 1}')
    ),
    "earlier code": Kind(".dvc/tmp/inkflow/code/*", SHOWN, edited, ("[]", '[{"relpath": 1}]')),
    "database of hashes": Kind("../site/repo/*/*/**/cache.db", SHOWN, called=("database of file hashes",)),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Toy, Forked, Snapshot]]:
    """A project whose stages have run; DVC's database of hashes lies beside it."""
    folder = tmp_path / "all" / "toy"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    toy = Toy(folder)
    code = "def number():\n    return 7\n\n\nprint(number())\n"
    toy.write({"dvc.yaml": DIAMOND + TREE, "params.yaml": "knobs: {speed: 1}\n", "in": "one\n", "code.py": code})
    toy.write({"show.py": SHOW})
    toy.write({"execution.yaml": "environment: {python: minor}\n", ".dvc/config": "[core]\n    analytics = false\n"})
    environment = os.environ | {"DVC_SITE_CACHE_DIR": str(tmp_path / "all" / "site")}
    with forking(tmp_path / "texts", environment) as inkflow:
        outcome = inkflow("run", "--no-server", folder=folder)
        assert outcome.code == 0, outcome
        commit()
        for reader in ("runs", "plan"):
            assert inkflow(*READERS[reader], folder=folder).code == 0
        yield toy, inkflow, Snapshot(tmp_path / "all", tmp_path / "snapshot")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_damaged_file_of_the_state_is_noticed_or_made_again(
    project: tuple[Toy, Forked, Snapshot], promise: Try, rounds: Rounds
) -> None:
    """No command hangs or ends with a traceback on a damaged file, and a run makes what it made before."""
    sentence = "A damaged file of DVC or of Inkflow's state is named in one sentence, or a run makes the same outputs."
    how = "a bit flipped, cut short, emptied or replaced in each kind of file, and the commands that read it"
    toy, inkflow, snapshot = project
    chance, many = random.Random(SEED), rounds(0, 1)
    before = {name: (toy.folder / name).read_bytes() for name in OUTPUTS}
    known: dict[tuple[str, Callable[[Path], None]], Outcome] = {}
    with promise("Damaged files", sentence, how) as tried:
        for name, kind in KINDS.items() if many else chance.sample([*KINDS.items()], FEW):
            for way, reader in _attempts(kind, chance, many):
                undamaged = _undamaged(toy.folder, inkflow, kind, reader, snapshot, known)
                seed = chance.randrange(10**6)
                damaged = _damaged(toy.folder, kind, way, seed)
                if damaged is not None:
                    with tried.attempt(f"{name}, {damaged.name}, {way} ({seed}), {reader}, attempt {tried.attempts}"):
                        found = _problem(toy.folder, inkflow, kind, damaged, reader, before, undamaged)
                        assert found is None, found
                snapshot.restore()
        with tried.verdict("a kind of file that the table lacks"):
            patterns = [kind.pattern for kind in KINDS.values() if not kind.pattern.startswith("..")]
            assert unnamed(toy.folder, patterns) == []


def _attempts(kind: Kind, chance: random.Random, many: int) -> list[tuple[str, str]]:
    """Returns pairs of a way to damage the file, and a command: all of them `many` times, or one of them."""
    every = [(way, reader) for way in (*DAMAGES, *kind.others) for reader in kind.readers]
    return every * many or chance.sample(every, 1)


def _undamaged(
    root: Path,
    inkflow: Forked,
    kind: Kind,
    reader: str,
    snapshot: Snapshot,
    known: dict[tuple[str, Callable[[Path], None]], Outcome],
) -> Outcome:
    """Returns what the command does in the same state without damage; `known` keeps it."""
    if (reader, kind.before) not in known:
        kind.before(root)
        known[reader, kind.before] = inkflow(*READERS[reader], folder=root)
        snapshot.restore()
    return known[reader, kind.before]


def _damaged(root: Path, kind: Kind, way: str, seed: int) -> Path | None:
    """Brings a project into the state of a kind and damages a file of it; returns the file, None if it is the same."""
    chance = random.Random(seed)
    kind.before(root)
    files = [path for path in sorted(root.glob(kind.pattern)) if path.is_file()]
    assert files, f"no file: {kind.pattern}"
    path = chance.choice(files)
    old = path.read_bytes()
    new = _content(kind, way, old, chance)
    if new == old:
        return None
    write_damage(path, new)
    return path


def _problem(
    root: Path,
    inkflow: Forked,
    kind: Kind,
    path: Path,
    reader: str,
    before: dict[str, bytes],
    undamaged: Outcome,
) -> str | None:
    content = path.read_bytes()
    outcome = inkflow(*READERS[reader], folder=root)
    names = (path.name, os.path.relpath(path, root), *kind.called)
    if kind.decides and reader == "run":
        found = _unlike_new(root, inkflow, path.name, outcome)
        return f"{found}: {content!r}: {outcome}" if found else None
    found = problem(outcome, undamaged, names, may_differ=reader in SHOWS_CHANGES or reader in kind.shows)
    if found is None and reader == "run" and outcome.code == 0:
        other = [name for name, old in before.items() if (root / name).read_bytes() != old]
        found = f"other outputs: {other}" if other else _unrecorded(root)
    return found


def _content(kind: Kind, way: str, old: bytes, chance: random.Random) -> bytes:
    """Returns the damaged content of a file; no command of a damaged dvc.yaml names a file outside of the project."""
    if way not in DAMAGES:
        return way.encode()
    new = DAMAGES[way](old, chance) if old else old
    while kind.decides and b" /" in new:
        new = DAMAGES[way](old, chance)
    return new


def _unlike_new(root: Path, inkflow: Forked, name: str, outcome: Outcome) -> str | None:
    """Returns how a run with the damaged file `name` differs from that of a new project with the same files.

    None if both make the same outputs or fail with the same errors, or if this one fails with an error that has `name`.
    """
    new = root.parents[1] / "new"
    new.mkdir()
    try:
        shutil.copytree(root / ".git", new / ".git")
        for each in INPUTS:
            (new / each).parent.mkdir(exist_ok=True)
            shutil.copy2(root / each, new / each)
        other = inkflow(*READERS["run"], folder=new)
        if outcome.code is None or "Traceback" in outcome.out + outcome.err:
            return "a traceback, or it hangs"
        if outcome.code:
            errors, others = (_errors(each) for each in (outcome, other))
            is_told = any(name in line for line in errors) or (errors and errors == others)
            return None if is_told else f"its errors are not those of a new project: {other}"
        files = {path.relative_to(new) for path in new.iterdir() if path.is_file() and path.suffix != ".runs"}
        files |= {path.relative_to(new) for path in (new / "tree").glob("*")}
        made = files - set(map(Path, (*INPUTS, *UNCOMPARED)))
        unlike = [str(path) for path in made if not _is_same(root / path, new / path)]
        return f"other outputs than a new project: {unlike}, {other}" if unlike or other.code else None
    finally:
        shutil.rmtree(new)


def _errors(outcome: Outcome) -> list[str]:
    return sorted(line for line in comparable(outcome.err).splitlines() if line.startswith("error: "))


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def _unrecorded(root: Path) -> str | None:
    """Returns outputs that dvc.lock does not record as they are; entries of stages that dvc.yaml lacks may stay."""
    recorded = {path: value for outputs in recorded_outputs(root) for path, value in outputs.items()}
    other = [name for name in OUTPUTS if "/" not in name and recorded.get(name) != file_md5(root / name)]
    return f"dvc.lock does not record {other}" if other else None
