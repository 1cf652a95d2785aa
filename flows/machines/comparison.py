"""Compares the project's dvc.lock with another machine's: records, then contents, then the tests of models."""

import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flows.core.code_path import own_command
from flows.core.errors import ProgramFailed, error_message
from flows.dvc_repo.versions.contents import Contents, open_contents
from flows.engine.processes.command_runner import die_with_parent
from flows.machines.environments import Environments, recorded_environments, same_but_machine, training_facts
from flows.machines.records import Difference, input_differences, order, read_records
from flows.machines.sources import ENVIRONMENT, Read, Source, open_source
from flows.machines.verdicts import EVALUATION, NO_ANSWER, SAME, Facts, Key, Row, Verdict, judge, model_of
from stages.base.digests import LOCK
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InvalidInput

EXIT_NO_ANSWER = 3  # nothing is different, but not everything could be compared
SIDES = ("here", "there")
TRAINING = re.compile(r"models/[^/]+/training\.json")
TESTED_FILES = ("predictions.parquet", "metrics.json")
VALUES = {  # the words of stages.verify
    "same bytes": Verdict.VALUES,
    "same values": Verdict.VALUES,
    "within tolerance": Verdict.TOLERANCE,
    "different": Verdict.DIFFERENT,
}


def compare_machines(root: Path, against: str, stages: Collection[str], tolerance: float) -> dict[str, Any]:
    """Returns how the results that dvc.lock names compare with those that another dvc.lock names.

    Args:
        root: the project's folder.
        against: the other dvc.lock; see `sources`.
        stages: names of stages to report; all if empty.
        tolerance: the largest difference of floats that counts as rounding.

    Raises:
        InkflowError: a dvc.lock cannot be read, or a program of the comparison failed.
    """
    own, source = _own_files(root), open_source(root, against)
    if own(LOCK) is None:
        raise InvalidInput("this project has no dvc.lock, so there is nothing to compare; `inkflow run` first")
    pipeline: Read = lambda path: source.read(path) or own(path)  # noqa: E731 - a lambda of one line
    here = read_records(own, own, LOCK)
    there = read_records(source.read, pipeline, against, removed=here.commands.keys() - here.stages.keys())
    names = order(here, there)
    inputs = {name: found for name in names if (found := input_differences(name, here, there))}
    facts = Facts(here, there, inputs)
    with open_contents(root) as contents, TemporaryDirectory(prefix="inkflow-verify-") as folder:
        work = Path(folder)
        (work / "records").mkdir()
        environments = recorded_environments(root, contents.cache_folder, source.read(ENVIRONMENT), work / "records")
        facts.missing = _lay_out(contents, facts, names, source, root, work)
        _compare_values(facts, names, work, tolerance)
        facts.tests = _test_models(facts, work)
        recorded = {name: environments(name, here.stages[name].outs, there.stages[name].outs) for name in names}
        why = {name: [*_environment(name, recorded[name], facts, work)] for name in names}
    return _result(source, tolerance, judge(names, facts), facts, why, contents.remote_problem, stages)


def _own_files(root: Path) -> Read:
    def read(path: str) -> bytes | None:
        try:
            return (root / path).read_bytes()
        except OSError:
            return None

    return read


def _place(work: Path, side: str, key: Key) -> Path:
    """Returns where an output of one side is laid out: each stage has a folder."""
    stage, path = key
    return work / side / hashlib.md5(stage.encode(), usedforsecurity=False).hexdigest() / path


def _differing(facts: Facts, names: Iterable[str]) -> list[Key]:
    """Returns stage and path of each output that both sides have, with different hashes."""
    keys = [(name, output) for name in names for output in facts.here.stages[name].outs]
    return [key for key in keys if all(facts.hashes(*key)) and not facts.is_same(*key)]


def _lay_out(
    contents: Contents, facts: Facts, names: Sequence[str], source: Source, root: Path, work: Path
) -> dict[Key, str]:
    """Lays the outputs that differ, and the predictions of their models, out in `work/here` and `work/there`.

    Returns:
        Why the contents of an output are not available.
    """
    wanted = dict.fromkeys(_wanted(facts, names))
    contents.fetch(digest for key in wanted for digest in facts.hashes(*key))
    missing: dict[Key, str] = {}
    for key in wanted:
        path = key[1]
        if Path(path).is_absolute() or ".." in Path(path).parts:
            missing[key] = "it is outside of the project"
            continue
        places = ((root, _own_files(root)), (source.folder, source.read))
        for side, digest, (folder, read) in zip(SIDES, facts.hashes(*key), places, strict=True):
            if problem := contents.lay_out(digest, _place(work, side, key), folder, path, read):
                missing.setdefault(key, f"{problem} ({side})")
    return missing


def _wanted(facts: Facts, names: Sequence[str]) -> Iterable[Key]:
    """Yields the outputs to lay out."""
    differing = _differing(facts, names)
    yield from differing
    for model in {model_of(path) for _, path in differing} - {""}:
        for path in (f"evaluation/{model}/{name}" for name in TESTED_FILES):
            stage = facts.here.makers.get(path, "")
            if stage in names and path in facts.there.stages[stage].outs:
                yield stage, path


def _compare_values(facts: Facts, names: Sequence[str], work: Path, tolerance: float) -> None:
    """Adds the comparison of the contents that are laid out to the facts."""
    keys = [key for key in _differing(facts, names) if key not in facts.missing]
    pairs = [[str(_place(work, side, key)) for side in SIDES] for key in keys]
    rows = dict(zip(keys, _run("stages.verify", ["--tolerance", str(tolerance)], pairs), strict=True))
    found = {key: (VALUES[row["verdict"]], row["detail"]) for key, row in rows.items()}
    for key in keys:
        if TRAINING.fullmatch(key[1]) and found[key][0] is Verdict.DIFFERENT:
            one, other = (_place(work, side, key) for side in SIDES)
            if same_but_machine(one, other):
                found[key] = Verdict.VALUES, "but for the machine that it records"
    facts.values = found
    facts.unread = {key for key, row in rows.items() if not row["has_values"]}
    facts.same_weights = {key for key, row in rows.items() if row["same_weights"]}


def _test_models(facts: Facts, work: Path) -> dict[str, dict[str, Any]]:
    """Returns the tests of the models whose predictions are laid out on both sides."""
    found: dict[str, dict[str, Any]] = {}
    folders: dict[str, list[str]] = {}
    for path, stage in facts.here.makers.items():
        match = EVALUATION.fullmatch(path)
        if match is None or not path.endswith("/predictions.parquet") or stage not in facts.there.stages:
            continue
        model = f"models/{match[1]}/model.onnx"
        inputs = [*facts.inputs.get(stage, ()), *facts.inputs.get(facts.here.makers.get(model, ""), ())]
        if not all(item.is_draw for item in inputs):
            continue
        if side := next((side for side, one in facts.sides if model in one.links.broken(stage)), ""):
            sentence = f"no test, since {stage} {side} read another {model} than the one that dvc.lock has"
            found[match[1]] = {"verdict": Verdict.DIFFERENT, "sentence": sentence}
        elif (stage, path) in facts.missing:
            sentence = f"no test, since {path} cannot be had: {facts.missing[stage, path]}"
            found[match[1]] = {"verdict": Verdict.UNKNOWN, "sentence": sentence}
        elif _place(work, "here", (stage, path)).exists():
            folders[match[1]] = [str(_place(work, side, (stage, path)).parent) for side in SIDES]
    return found | (_run("stages.verify.agreement", [], folders) if folders else {})


def _run(module: str, arguments: Sequence[str], content: Any) -> Any:
    """Runs a program of `stages.verify` with JSON as its input and output, since `flows` has no NumPy."""
    if not content:
        return []
    process = subprocess.run(
        die_with_parent(own_command(module, *arguments)),
        input=json.dumps(content),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if process.returncode:
        message = error_message(process.stderr.splitlines()) or "it printed no message"
        raise ProgramFailed(f"the comparison failed (exit code {process.returncode}): {message}", process.returncode)
    return json.loads(process.stdout)


def _environment(stage: str, found: Environments, facts: Facts, work: Path) -> Iterable[Difference]:
    """Yields how the environments of a stage's results differ, those that its training records included."""
    if all(facts.is_same(stage, output) for output in facts.here.stages[stage].outs):
        return
    yield from found.differences()
    for path in facts.here.stages[stage].outs:
        if TRAINING.fullmatch(path) and (key := (stage, path)) not in facts.missing:
            yield from Environments(*(training_facts(_place(work, side, key)) for side in SIDES)).differences()


def _result(
    source: Source,
    tolerance: float,
    rows: Sequence[Row],
    facts: Facts,
    why: Mapping[str, Sequence[Difference]],
    remote_problem: str,
    stages: Collection[str],
) -> dict[str, Any]:
    """Returns the content of `--json`: of all rows those of `stages`, if any are named."""
    notes = [f"the remote: {remote_problem}"] if remote_problem else []
    unexplained = _unexplained(rows, facts, why)
    rows = [row for row in rows if not stages or row.stage in stages]
    named = {row.stage for row in rows}
    models = {model_of(row.output) for row in rows}
    alone = {
        f"only_{side}": [name for name in one.stages if name not in other.stages and (not stages or name in stages)]
        for side, one, other in (("here", facts.here, facts.there), ("there", facts.there, facts.here))
    }
    counts = Counter(row.verdict for row in rows)
    is_open = any(counts[verdict] for verdict in NO_ANSWER) or any(alone.values()) or not rows
    return {
        "against": source.name,
        "commit": source.commit,
        "tolerance": tolerance,
        "exit_code": EXIT_FAILED if counts[Verdict.DIFFERENT] else EXIT_NO_ANSWER if is_open else EXIT_DONE,
        "counts": {verdict: counts[verdict] for verdict in Verdict if counts[verdict]},
        "inputs": _differences(facts.inputs, named),
        "environment": _differences(why, named),
        "outputs": [_row(row, facts) for row in rows],
        "models": {name: test for name, test in facts.tests.items() if name in models},
        "notes": [*notes, *(sentence for stage, sentence in unexplained.items() if stage in named)],
        **alone,
    }


def _unexplained(rows: Sequence[Row], facts: Facts, why: Mapping[str, Sequence[Difference]]) -> dict[str, str]:
    """Returns a sentence for each stage that made another result of the same inputs for no recorded reason."""
    unequal = [row for row in rows if row.verdict not in (*SAME, Verdict.NOT_COMPARABLE)]
    differing = {row.stage for row in unequal if all(facts.hashes(*row.key))}
    first = [name for name in differing if not differing.intersection(facts.here.links.makers_before(name))]
    return {
        name: f"{name}: neither its inputs nor what is recorded of the environments explains that its results differ"
        for name in facts.here.stages
        if name in first and not facts.inputs.get(name) and not why[name]
    }


def _differences(found: Mapping[str, Sequence[Difference]], stages: Collection[str]) -> list[dict[str, Any]]:
    return [{"stage": stage, **asdict(item)} for stage, items in found.items() if stage in stages for item in items]


def _row(row: Row, facts: Facts) -> dict[str, Any]:
    one, other = facts.hashes(*row.key)
    content = {"stage": row.stage, "output": row.output, "verdict": row.verdict, "detail": row.detail}
    return content | {"difference": facts.values.get(row.key, ("", ""))[1], "here": one, "there": other}


def is_fine(verdict: str) -> bool:
    """Whether a verdict says that the two machines agree."""
    return verdict in (*SAME, Verdict.STATISTICS, Verdict.FOLLOWS)
