"""Finds the seeds that an earlier run of the stage has trained, so that one more seed trains one more model.

The stage does not find its earlier outputs in their place: `inkflow run` moves them aside before it starts a stage, and
`dvc repro` removes them. (DVC keeps an output with `persist`, but then has no run cache for the stage.) Their content
is in DVC's cache, under the hash in dvc.lock, which has the entry of the earlier run until the stage has ended.

    models/dense/seeds/3/model.onnx                                          run by hand
    .inkflow/aside/STAGE/outputs/models/dense/seeds/3/model.onnx             inkflow run
    .dvc/cache/files/md5/0a/1b2c..., named by the list of files ....dir      dvc repro, and after dvc pull
"""

import configparser
import glob
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ruamel.yaml.error import YAMLError

from stages.base.dvc_settings import expanded, settings_files
from stages.base.yaml_text import parse_yaml
from stages.train.seeds.finished import files_in

ASIDE = Path(".inkflow/aside")
DEFAULT_CACHE = Path(".dvc/cache")
HASH = "md5"  # DVC's name of the hash, and of the folder in its cache
VALUE = re.compile(r"""(["']?)(.*?)\1\s*(?:#.*)?""")  # in DVC's configuration: quoted or not, before a comment

Seeds = dict[str, dict[str, Path]]  # the files of each seed, by name


def find_earlier(folder: Path) -> Seeds:
    """Returns the seeds of the earlier run whose output is `folder`, from the first place that has some."""
    relative = os.path.relpath(folder)
    places = [folder]
    if not relative.startswith(".."):
        places += Path().glob(f"{ASIDE}/*/outputs/{glob.escape(relative)}")
    return next(filter(None, map(_seeds_in, places)), None) or _cached_seeds(PurePosixPath(relative))


def _seeds_in(folder: Path) -> Seeds:
    folders = [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    return {path.name: files_in(path) for path in sorted(folders)}


def _cached_seeds(output: PurePosixPath) -> Seeds:
    """Returns the seeds in the version of `output` that dvc.lock records, as files of DVC's cache."""
    seeds: Seeds = {}
    try:
        value, cache = _recorded_hash(output), _cache_folder()
        for entry in json.loads(_object(cache, value).read_text(encoding="utf-8")) if value else ():
            seed, name = PurePosixPath(entry["relpath"]).parts
            seeds.setdefault(seed, {})[name] = _object(cache, entry[HASH])
    except (OSError, YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError, configparser.Error):
        return {}  # no earlier run, a cache that is elsewhere or incomplete, or another format: all seeds are trained
    return seeds


def _recorded_hash(output: PurePosixPath) -> str | None:
    content = parse_yaml(Path("dvc.lock").read_text(encoding="utf-8"))
    outs: Iterator[dict[str, str]] = (out for stage in content["stages"].values() for out in stage.get("outs", ()))
    return next((out[HASH] for out in outs if out["path"] == str(output)), None)


def _cache_folder() -> Path:
    """Returns DVC's cache in this project: the folder in its configuration, relative to that file, or the default."""
    for path in settings_files():
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read(path, encoding="utf-8")
        found = VALUE.fullmatch(parser.get("cache", "dir", fallback=""))
        if found and found[2]:
            return path.parent / expanded(found[2])
    return DEFAULT_CACHE


def _object(cache: Path, value: str) -> Path:
    return cache / "files" / HASH / value[:2] / value[2:]
