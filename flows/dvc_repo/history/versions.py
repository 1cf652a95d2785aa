"""What one version of the project has: stages, parameters, metrics, scores of models, gates."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from posixpath import join, normpath
from typing import Any

from flows.dvc_repo.history.parsing import Entry, Pipeline, Unreadable, leaves, parse_lock, parse_pipeline, parse_values

Read = Callable[[str], bytes | None]  # the content of a file of this version in git; None without one
CachedFile = Callable[[str], Path | None]  # the file with a hash in DVC's cache; None without one

PARAMS = "params.yaml"
VALIDATION = re.compile(r"models/([^/]+)/validation\.json")
EVALUATION = re.compile(r"evaluation/([^/]+)/metrics\.json")
SUMMARY = "reports/metrics.json"  # the same scores once more
GATES = "reports/gates.json"
DATASET = "data/raw/dataset.npz"
DESCRIPTION = "data/raw/dataset.json"
PREPARED = ("data/prepared", "prepared.json")
NO_DATA = {".txt", ".lock", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".md"}
CODE_SUFFIXES = {".py", ".ipynb", ".r", ".jl", ".sh", ".sql", ".cpp", ".c", ".rs", ".go", ".js", ".ts", ".scala", ".m"}
MAX_METRICS_BYTES = 1_000_000
OF_NAME = re.compile(r"\$\{\s*(item|key)\s*\}")  # what stands behind the @ in the name of a stage
MODEL_FILES = {"predictions": "evaluation/{}/predictions.parquet", "history": "models/{}/history.csv"}


@dataclass
class Stage:
    """A stage as dvc.lock records it, with paths below the project's folder."""

    deps: Mapping[str, str]
    outs: Mapping[str, str]
    command: str
    params: str  # text; equal for equal parameters


@dataclass
class Version:
    """The facts of one version; see the module `facts` for their form in JSON."""

    stages: dict[str, Stage] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: str = ""  # the best model, as the summary in Git names it
    gates: dict[str, Any] | None = None
    dataset: str = ""
    data: dict[str, str] = field(default_factory=dict)  # hashes of the data that no stage makes, or of our data set
    description: str = ""  # hash of the description of our data set, which names its classes
    code: dict[str, str] = field(default_factory=dict)  # hashes of the other files that no stage makes
    locks: dict[str, str] = field(default_factory=dict)  # SHA-256 of each dvc.lock, as records of runs have it
    problems: list[str] = field(default_factory=list)


def file_names(folders: Iterable[str]) -> list[str]:
    """Returns the files of each version that name all others."""
    return [PARAMS, *(join(folder, name) for folder in folders for name in ("dvc.lock", "dvc.yaml"))]


def stages_of(read: Read, folders: Iterable[str]) -> tuple[Version, dict[str, Pipeline]]:
    """Returns the version with its stages, and the dvc.yaml of each folder; a file that cannot be read is a problem."""
    version, pipelines = Version(), {}
    for folder in folders:
        lock, pipeline = read(join(folder, "dvc.lock")), read(join(folder, "dvc.yaml"))
        pipelines[folder] = Pipeline()
        try:
            pipelines[folder] = parse_pipeline(pipeline) if pipeline else Pipeline()
        except Unreadable as error:
            version.problems.append(f"{join(folder, 'dvc.yaml')}: {error}")
        if lock:
            version.locks[join(folder, "dvc.lock")] = hashlib.sha256(lock).hexdigest()
        try:
            entries = parse_lock(lock) if lock else {}
        except Unreadable as error:
            version.problems.append(f"{join(folder, 'dvc.lock')}: {error}")
            continue
        for name, entry in entries.items():
            address = f"{join(folder, 'dvc.yaml')}:{name}" if folder else name
            version.stages[address] = _stage(entry, join(folder, _working_folder(name, pipelines[folder])))
    return version, pipelines


def _stage(entry: Entry, folder: str) -> Stage:
    parts = (entry.deps, entry.outs)
    deps, outs = ({normpath(join(folder, path)): value for path, value in part.items()} for part in parts)
    return Stage(deps, outs, entry.command, entry.params)


def _working_folder(name: str, pipeline: Pipeline) -> str:
    """Returns the `wdir` of a stage; templates beyond its name stay, with its name, so that no two share a folder."""
    group, _, key = name.partition("@")
    folder = pipeline.folders.get(group, "")
    named = OF_NAME.sub(lambda _: key, folder) if key else folder
    return f"{named}@{key}" if key and "${" in named else named


def _group(name: str) -> str:
    return name.partition("@")[0]


def metrics_files(version: Version, pipelines: Mapping[str, Pipeline]) -> list[str]:
    """Returns the paths of the metrics of a version: those of its dvc.yaml, with the names in dvc.lock.

    Scores of models of Inkflow's own form are among them whether dvc.yaml names them as metrics or as outputs.
    """
    found: dict[str, None] = {}
    for folder, pipeline in pipelines.items():
        for path in pipeline.top_metrics:
            found[normpath(join(folder, path))] = None
        for group, patterns in pipeline.metrics.items():
            base = join(folder, pipeline.folders.get(group, ""))
            expressions = [_expression(normpath(join(base, pattern))) for pattern in patterns]
            prefix = f"{join(folder, 'dvc.yaml')}:" if folder else ""
            for name, stage in version.stages.items():
                if _group(name.removeprefix(prefix)) == group:
                    found |= dict.fromkeys(path for path in stage.outs if any(map(_match(path), expressions)))
    outs = (path for stage in version.stages.values() for path in stage.outs)
    return list(found | dict.fromkeys(path for path in outs if any(map(_match(path), (VALIDATION, EVALUATION)))))


def _match(path: str) -> Callable[[re.Pattern[str]], bool]:
    return lambda expression: expression.fullmatch(path) is not None


@lru_cache(maxsize=1000)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(".+?".join(map(re.escape, re.split(r"\$\{[^}]*\}", pattern))))


def add_params(version: Version, read: Read, files: Iterable[str]) -> None:
    """Adds the parameters: keys of params.yaml as they are, those of other files as FILE:KEY."""
    for path in dict.fromkeys([PARAMS, *files]):
        content = read(path)
        if content is None:
            continue
        values = _leaves(version, path, content, parse_values) or {}
        version.params |= {key if path == PARAMS else f"{path}:{key}": value for key, value in values.items()}
    version.dataset = str(version.params.get("dataset") or "")


def _leaves(version: Version, path: str, content: bytes, parse: Callable[[str, bytes], Any]) -> dict[str, Any] | None:
    """Returns the values of a file by dotted key; None for one that cannot be read, which is noted as a problem."""
    try:
        return leaves(parse(path, content))
    except Unreadable as error:
        version.problems.append(f"{path}: {error}")
        return None


def add_scores(version: Version, read: Read, cached: CachedFile, files: Sequence[str]) -> None:
    """Adds metrics from git or DVC's cache: scores of models of Inkflow's own form, and numbers of all other files."""
    hashes = {path: value for stage in version.stages.values() for path, value in stage.outs.items()}
    others = [path for path in files if not (VALIDATION.fullmatch(path) or EVALUATION.fullmatch(path))]
    if len(others) < len(files):
        others = [path for path in others if path != SUMMARY]
    summary: dict[str, Any] = {}
    for path in files:
        digest = hashes.get(path, "")
        content = read(path)
        if content is not None and digest and hashlib.md5(content, usedforsecurity=False).hexdigest() != digest:
            content = _cached_bytes(cached, digest)
            version.problems += [] if content else [f"{path}: it is not the file that dvc.lock names"]
        elif content is None:
            content = _cached_bytes(cached, digest)
        if content is None:
            continue
        values = _leaves(version, path, content, _values)
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


def add_sources(version: Version, is_tracked: Callable[[str], bool]) -> None:
    """Adds the hashes of what no stage makes, as data or as code; `is_tracked` tells paths with a file PATH.dvc."""
    made = {path for stage in version.stages.values() for path in stage.outs}
    for stage in version.stages.values():
        for path, digest in stage.deps.items():
            if path in made or any(_lies_in(path, out) or _lies_in(out, path) for out in made):
                continue
            is_data = is_tracked(path) or path.split("/")[0] in ("data", "datasets") or _is_data_file(path)
            (version.data if is_data else version.code)[path] = digest
        if DATASET in stage.outs:
            version.data[DATASET] = stage.outs[DATASET]
            version.description = stage.outs.get(DESCRIPTION, "")


def _is_data_file(path: str) -> bool:
    suffix = PurePosixPath(path).suffix.lower()
    return bool(suffix) and suffix not in CODE_SUFFIXES | NO_DATA


def _lies_in(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")
