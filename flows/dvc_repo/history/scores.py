"""Scores of the models of a version, its metrics and gates, from git and DVC's cache."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from flows.dvc_repo.history.links import Links
from flows.dvc_repo.history.parsing import Unreadable, parse_values
from flows.dvc_repo.history.versions import EVALUATION, VALIDATION, CachedFile, Read, Version, read_leaves

SUMMARY = "reports/metrics.json"  # the same scores once more
GATES = "reports/gates.json"
MAX_METRICS_BYTES = 1_000_000
MODEL_FILES = {"predictions": "evaluation/{}/predictions.parquet", "history": "models/{}/history.csv"}


def add_scores(version: Version, read: Read, cached: CachedFile, files: Sequence[str]) -> None:
    """Adds metrics from git or DVC's cache: scores of models of Inkflow's own form, and numbers of all other files.

    Those of stages in `outdated` are left out: they are scores of other models than this version has.
    """
    current = [stage for name, stage in version.stages.items() if name not in version.outdated]
    hashes = {path: value for stage in current for path, value in stage.outs.items()}
    others = [path for path in files if not (VALIDATION.fullmatch(path) or EVALUATION.fullmatch(path))]
    if len(others) < len(files):
        others = [path for path in others if path != SUMMARY]
    summary: dict[str, Any] = {}
    for path in _current(version, files):
        digest = hashes.get(path, "")
        content = read(path)
        if content is not None and digest and hashlib.md5(content, usedforsecurity=False).hexdigest() != digest:
            content = _cached_bytes(cached, digest)
            version.problems += [] if content else [f"{path}: it is not the file that dvc.lock names"]
        elif content is None:
            content = _cached_bytes(cached, digest)
        if content is None:
            continue
        values = read_leaves(version, path, content, _values)
        if values is None:
            continue
        numbers = {key: value for key, value in values.items() if type(value) in (int, float)}
        own, test = VALIDATION.fullmatch(path), EVALUATION.fullmatch(path)
        if own:
            version.models.setdefault(own[1], {})["validation"] = {
                key.removeprefix("validation_"): value for key, value in numbers.items()
            }
        elif test:
            version.models.setdefault(test[1], {})["test"] = numbers
        elif path not in others:
            summary = values
        else:
            version.metrics |= {f"{path}:{key}" if len(others) > 1 else key: value for key, value in numbers.items()}
    _add_summary(version, summary)
    _add_model_files(version, hashes, cached)
    version.gates = _gates(_cached_bytes(cached, hashes.get(GATES, "")))


def _current(version: Version, files: Sequence[str]) -> list[str]:
    """Returns the files that no stage in `outdated` makes."""
    links = Links(version.stages)
    return [path for path in files if links.maker_of(path) not in version.outdated]


def _add_summary(version: Version, summary: Mapping[str, Any]) -> None:
    """Adds validation scores, or the name of the best model, from the summary in Git where DVC's cache has none."""
    for key, value in summary.items():
        name, _, score = key.rpartition(".validation_")
        if name in version.models and "validation" not in version.models[name] and isinstance(value, int | float):
            version.models[name].setdefault("summary", {})[score] = value
    for model in version.models.values():
        if "summary" in model:
            model["validation"] = model.pop("summary")
    version.chosen = str(summary.get("best") or "")


def _add_model_files(version: Version, hashes: Mapping[str, str], cached: CachedFile) -> None:
    """Adds the hashes of predictions and histories of the models, and the number of their validation samples."""
    for name, model in version.models.items():
        for kind, pattern in MODEL_FILES.items():
            if digest := hashes.get(pattern.format(name)):
                model[kind] = digest
        training = hashes.get(f"models/{name}/training.json", "")
        samples = _samples(_cached_bytes(cached, training)) if "validation" in model else None
        if samples:
            model["validation"]["samples"] = samples


@lru_cache(maxsize=4096)
def _values(path: str, content: bytes) -> Any:
    if len(content) > MAX_METRICS_BYTES:
        raise Unreadable(f"it has {len(content):,} bytes, expected at most {MAX_METRICS_BYTES:,}")
    return parse_values(path, content)


def _cached_bytes(cached: CachedFile, digest: str) -> bytes | None:
    path = cached(digest) if digest else None
    try:
        return path.read_bytes() if path else None
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _samples(content: bytes | None) -> int | None:
    """Returns the number of validation samples in a training.json."""
    try:
        samples = json.loads(content or b"")["samples"]["validation"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return samples if isinstance(samples, int) and samples > 0 else None


@lru_cache(maxsize=4096)
def _gates(content: bytes | None) -> dict[str, Any] | None:
    """Returns the counts of passed, failed and not judged gates in a gates.json, and the failed ones."""
    try:
        record = json.loads(content or b"")
        checks = [check for check in record["checks"] if isinstance(check, dict)]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    statuses = [str(check.get("status", "")) for check in checks]
    failed = [
        {key: str(check.get(key, "")) for key in ("model", "gate", "sentence")}
        for check in checks
        if check.get("status") == "failed"
    ]
    passed = statuses.count("passed")
    others = len(statuses) - passed - len(failed)
    return {"passed": passed, "failed": len(failed), "not_judged": others, "checks": failed, "note": record.get("note")}
