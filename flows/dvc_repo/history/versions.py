"""What one version of the project has: stages, parameters, metrics, scores of models, gates."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from posixpath import join, normpath
from typing import Any

from flows.dvc_repo.history.links import Stage
from flows.dvc_repo.history.parsing import Entry, Unreadable, leaves, params_of, parse_lock, parse_values
from flows.dvc_repo.history.pipelines import Pipeline, parse_pipeline, read_params

Read = Callable[[str], bytes | None]  # the content of a file of this version in git; None without one
CachedFile = Callable[[str], Path | None]  # the file with a hash in DVC's cache; None without one

PARAMS = "params.yaml"
VALIDATION = re.compile(r"models/([^/]+)/validation\.json")
EVALUATION = re.compile(r"evaluation/([^/]+)/metrics\.json")
DATASET = "data/raw/dataset.npz"
DESCRIPTION = "data/raw/dataset.json"
PREPARED = ("data/prepared", "prepared.json")
NO_DATA = {".txt", ".lock", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".md"}
CODE_SUFFIXES = {".py", ".ipynb", ".r", ".jl", ".sh", ".sql", ".cpp", ".c", ".rs", ".go", ".js", ".ts", ".scala", ".m"}
OF_NAME = re.compile(r"\$\{\s*(item|key)\s*\}")  # what stands behind the @ in the name of a stage


@dataclass
class Version:
    """The facts of one version; see the module `facts` for their form in JSON."""

    stages: dict[str, Stage] = field(default_factory=dict)
    outdated: dict[str, str] = field(default_factory=dict)  # stages with results of other files, and why
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
    params_files: set[str] = field(default_factory=set)  # other files with parameters than params.yaml
    problems: list[str] = field(default_factory=list)


def file_names(folders: Iterable[str]) -> list[str]:
    """Returns the files of each version that name all others."""
    return [join(folder, name) for folder in folders for name in (PARAMS, "dvc.lock", "dvc.yaml")]


def stages_of(read: Read, folders: Iterable[str], *, with_removed: bool = False) -> tuple[Version, dict[str, Pipeline]]:
    """Returns the version with its stages, and the dvc.yaml of each folder; a file that cannot be read is a problem.

    Args:
        read: reads the files of `file_names`.
        folders: the folders with a dvc.yaml or dvc.lock.
        with_removed: whether stages count that dvc.yaml no longer has: dvc.lock keeps their entries.
    """
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
        params = None if with_removed else read_params(read(join(folder, PARAMS)))
        for name, entry in entries.items():
            if not (with_removed or pipelines[folder].has_stage(name, params)):
                continue
            address = f"{join(folder, 'dvc.yaml')}:{name}" if folder else name
            version.stages[address] = _stage(entry, join(folder, _working_folder(name, pipelines[folder])))
    return version, pipelines


def _stage(entry: Entry, folder: str) -> Stage:
    parts = (entry.deps, entry.outs, entry.forms)
    deps, outs, forms = ({normpath(join(folder, path)): value for path, value in part.items()} for part in parts)
    counts = {normpath(join(folder, path)): count for path, count in entry.counts.items()}
    return Stage(deps, outs, entry.command, entry.params, forms, counts)


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
        version.params_files |= {path} - {PARAMS}
        values = read_leaves(version, path, content, parse_values, params_of) or {}
        version.params |= {key if path == PARAMS else f"{path}:{key}": value for key, value in values.items()}
    version.dataset = str(version.params.get("dataset") or "")


def read_leaves(
    version: Version,
    path: str,
    content: bytes,
    parse: Callable[[str, bytes], Any],
    flat: Callable[[Any], dict[str, Any]] = leaves,
) -> dict[str, Any] | None:
    """Returns the values of a file by dotted key; None for one that cannot be read, which is noted as a problem."""
    try:
        return flat(parse(path, content))
    except Unreadable as error:
        version.problems.append(f"{path}: {error}")
        return None


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
