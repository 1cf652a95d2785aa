"""What the records of this machine's runs add to the rows: states, seconds, reasons, and runs that failed."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flows.core.values import is_same_value
from flows.dvc_repo.history.comparison import Row, is_of_file
from flows.dvc_repo.history.parsing import Unreadable, params_of, parse_values
from flows.dvc_repo.history.versions import PARAMS

Record = Mapping[str, Any]
FAILED = ("failed", "killed", "stopped", "running")
MAX_FAILED = 100  # rows of runs without a result, the newest ones
EMPTY: dict[str, Any] = {"state": "", "seconds": 0.0, "location": "", "reasons": [], "outputs": {}, "inputs": {}}


def add_runs(rows: list[Row], records: Sequence[Record], files: Collection[str]) -> None:
    """Adds `state`, `seconds`, `record` and the seconds of stages to the rows, and a row for each run that failed.

    Args:
        rows: the rows of the versions.
        records: the records of the runs, the oldest first.
        files: other files with parameters than params.yaml, which is the only one that records have.
    """
    spans = {record["id"]: stage_spans(record) for record in records}
    made: dict[Any, list[Record]] = {}  # by stage and hashes of its files: the runs that made them, the oldest first
    for record in records:
        for name, span in spans[record["id"]].items():
            if span["state"] == "ran" and span["outputs"]:
                made.setdefault((name, _key(span["outputs"]), _key(span["inputs"])), []).append(record)
    locks = {record["id"]: _locks(record) for record in records}
    are_restored = [one["id"] for one in records if any(event.get("outcome") == "restored" for event in one["events"])]
    restored = frozenset[tuple[str, str]]().union(*(locks[name] for name in are_restored))
    for row in rows:
        _add_seconds(row, made, spans, locks, restored)
    failed = [record for record in records if record["state"] in FAILED][-MAX_FAILED:]
    rows += [_failed_row(record, spans[record["id"]], rows, files) for record in failed]


def _key(outputs: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((str(path), str(digest)) for path, digest in outputs.items() if digest)


def _locks(record: Record) -> frozenset[tuple[str, str]]:
    """Returns the paths and digests of the dvc.lock files after a run."""
    found = [event["locks"] for event in record["events"] if isinstance(event.get("locks"), dict)]
    return frozenset((str(path), str(digest)) for locks in found for path, digest in locks.items())


def stage_spans(record: Record) -> dict[str, dict[str, Any]]:
    """Returns each stage of a run with its state, seconds, start (seconds since the run began), place and reasons."""
    spans: dict[str, dict[str, Any]] = {}
    for event in record["events"]:
        name, kind, at = str(event.get("stage", "")), event["event"], float(event.get("at", 0)) - float(record["at"])
        span = spans.get(name) or {"start": at, **EMPTY}
        if kind == "started":
            spans[name] = span | {"state": "running", "start": at}
        elif kind == "ended":
            outcome = str(event.get("outcome", ""))
            files = {key: event[key] for key in ("outputs", "inputs") if isinstance(event.get(key), dict)}
            details = {"location": str(event.get("location", "")), "reasons": list(event.get("reasons") or ())}
            spans[name] = span | details | files | {"state": outcome, "seconds": at - span["start"]}
        elif kind == "failed":
            state = "stopped" if event.get("interrupted") else "killed" if event.get("killed") else "failed"
            details = {key: event.get(key) for key in ("error", "lines", "log")}
            spans[name] = span | details | {"state": state, "seconds": at - span["start"]}
            for other in event.get("not_run") or ():
                spans.setdefault(str(other), {**span, "state": "not run", "start": at, "seconds": 0.0})
    if record["state"] == "killed":
        for span in spans.values():
            span["state"] = "killed" if span["state"] == "running" else span["state"]
    return spans


def _maker(row: Row, found: Sequence[Record], locks: Mapping[str, frozenset[tuple[str, str]]]) -> str:
    """Returns the run that made a stage's files: the one after which dvc.lock was this one, else the last before it."""
    same = [record for record in found if row["locks"].items() & locks[record["id"]]]
    earlier = [record for record in found if not row["when"] or record["at"] <= row["when"] + 1]
    return str((same or earlier or found[:1])[-1]["id"]) if found else ""


def _add_seconds(
    row: Row,
    made: Mapping[Any, Sequence[Record]],
    spans: Mapping[str, Any],
    locks: Mapping[str, frozenset[tuple[str, str]]],
    restored: frozenset[tuple[str, str]],
) -> None:
    """Adds the seconds of the stages: of those that this version shares with the one before, as `cached`."""
    runs: Counter[str] = Counter()
    for stage in row["stages"]:
        key = stage["name"], _key(stage.pop("outs")), _key(stage.pop("deps"))
        record = stage["record"] = _maker(row, made.get(key, ()), locks)
        stage["seconds"] = round(spans[record][stage["name"]]["seconds"], 3) if record else None
        stage["cached"] = not stage.pop("changed") if row["base"] else False
        if record and not stage["cached"]:
            runs[record] += 1
    row["record"] = next((record for record, _ in runs.most_common(1)), "")
    for stage in row["stages"]:
        span = spans.get(stage["record"], {}).get(stage["name"], {})
        if stage["record"] == row["record"] and span:
            stage["reasons"] = span["reasons"] or stage["reasons"]
            stage["start"], stage["location"] = round(span["start"], 3), span["location"]
        elif row["record"]:
            stage["cached"] = True  # made by an earlier run
        stage["state"] = "unchanged" if stage["cached"] else "ran" if stage["record"] else "recorded"
    is_restored = bool(row["locks"].items() & restored)
    row["state"] = "ran" if row["record"] else "restored" if is_restored else "recorded"
    del row["locks"]
    known = [stage["seconds"] for stage in row["stages"] if stage["seconds"] is not None and not stage["cached"]]
    row["seconds"] = round(sum(known), 3) if known else None


def _failed_row(record: Record, spans: Mapping[str, Any], rows: Sequence[Row], files: Collection[str]) -> Row:
    """Returns the row of a run without a result, compared with the commit that it ran on."""
    base = _base(str(record.get("commit", "")), rows)
    before = next((row for row in rows if row["id"] == base), None)
    try:
        params = params_of(parse_values(PARAMS, str(record.get("params", "")).encode(errors="replace")))
    except Unreadable:
        params = {}
    old = before["params"] if before else {}
    known = [key for key in {**params, **old} if key in params or not is_of_file(key, files)]
    pairs = {key: [old.get(key), params.get(key)] for key in known}
    changed = {key: pair for key, pair in pairs.items() if not is_same_value(*pair)}
    causes = [span for span in spans.values() if span["state"] in ("failed", "killed")]
    title = str(causes[0].get("error") or "") if causes else ""
    stages = [_stage(str(name), spans.get(str(name), {})) for name in record.get("stages") or spans]
    upstream = {stage["name"]: stage["upstream"] for stage in before["stages"]} if before else {}
    for stage in stages:
        stage["upstream"] = [name for name in upstream.get(stage["name"], ()) if any(o["name"] == name for o in stages)]
    return {
        "id": record["id"],
        "kind": "run",
        "name": record["trial"] or "run",
        "experiment": bool(record["trial"]),
        "title": title or {"killed": "the run was killed", "running": "runs now"}.get(record["state"], record["state"]),
        "author": "",
        "when": int(record["at"]),
        "base": base,
        "refs": [],
        "same": [],
        "head": False,
        "problems": [],
        "params": params,
        "changed": changed if params and before else {},
        "marks": [],
        "dataset": str(params.get("dataset") or ""),
        "data": {},
        "description": "",
        "metrics": {},
        "models": {},
        "chosen": "",
        "gates": None,
        "stages": stages,
        "record": record["id"],
        "state": record["state"],
        "seconds": round(sum(span["seconds"] for span in spans.values()), 3),
    }


def _base(commit: str, rows: Sequence[Row]) -> str:
    return next((row["id"] for row in rows if commit and (commit == row["id"] or commit in row["same"])), "")


def _stage(name: str, span: Mapping[str, Any]) -> dict[str, Any]:
    details = {key: span[key] for key in ("error", "lines", "log") if span.get(key)}
    return {
        "name": name,
        "upstream": [],
        "outdated": "",
        "reasons": list(span.get("reasons") or ()),
        "state": span.get("state") or "unchanged",
        "cached": not span,
        "seconds": round(span["seconds"], 3) if span else None,
        "start": round(span["start"], 3) if span else None,
        "location": span.get("location", ""),
        **details,
    }
