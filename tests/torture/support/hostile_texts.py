"""Readers of texts that others wrote, each as a target of the fuzzers: params.yaml, options, policies, records."""

import json
from collections.abc import Sequence
from pathlib import Path

from flows.core.params_edit import edit_params, parse_settings
from flows.engine.policy import load_policies
from flows.engine.timings import PATH as TIMINGS
from flows.engine.timings import Timings
from flows.experiments.grid import check_combinations, parameter_keys, parse_combinations
from flows.experiments.search.space import check_space, parse_space
from flows.registry.model_files import is_address
from stages.params.schema import load_params
from stages.report.records import Training, read_record
from stages.watch.record import read_record as read_watch_record
from tests.support.root import ROOT
from tests.support.tiny_data import write_params
from tests.torture.support.hostile_files import Target

YAML_WORDS = (
    "a", "b", ":", ": ", "=", ",", "[", "]", "{", "}", "&x ", "*x", "<<: ", "- ", "\n", "\n  ", "|", "..", "'", '"',
    "!!python/object/apply:os.system ", "!!binary ", "!!timestamp ", "!!set ", "? ", "%YAML 1.1\n---\n", "---\n", "#",
    "2001-13-45", "1e999", ".nan", ".inf", "0x", "0b2", "1_000", "9" * 50, "-", "~", "true", "é", "\u2028", "\0", "²",
    "models", "dense", "epochs", "units", "lr", "list", "datasets", ":log", ":int", ":step=", "0", "1", "1.5", ".",
)  # fmt: skip
SMALL = "lr: 0.1\nmodels: {dense: {epochs: 3, units: [4, 8]}}\nlist:\n  - 1\n  - {a: b}\n"


def _read_params(content: bytes, folder: Path) -> None:
    (folder / "params.yaml").write_bytes(content)
    load_params(folder / "params.yaml")


def _params_seeds(folder: Path) -> list[bytes]:
    write_params(folder)
    return [(folder / "params.yaml").read_bytes()]


def _project(folder: Path) -> Path:
    path = folder / "params.yaml"
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != SMALL:
        path.write_text(SMALL, encoding="utf-8")
    return folder


def _texts(content: bytes) -> list[str]:
    """Returns the arguments of a command: lines, with bytes that are no UTF-8 as Python decodes arguments."""
    return content.decode("utf-8", "surrogateescape").split("\n")[:4]


def _set(content: bytes, folder: Path) -> None:
    edit_params(parse_settings(_texts(content)), _project(folder))


def _grid(content: bytes, folder: Path) -> None:
    root = _project(folder)
    found = parse_combinations(_texts(content), [], None)
    for combination in found[:20]:
        combination.experiment(parameter_keys(root))
    check_combinations(found[:20], root)


def _space(content: bytes, folder: Path) -> None:
    root = _project(folder)
    check_space(parse_space(_texts(content)), root)


def _policies(content: bytes, folder: Path) -> None:
    (folder / "execution.yaml").write_bytes(content)
    load_policies(folder)


def _timings(content: bytes, folder: Path) -> None:
    (folder / TIMINGS).parent.mkdir(exist_ok=True)
    (folder / TIMINGS).write_bytes(content)
    Timings(folder).expected_s("train")


def _training(content: bytes, folder: Path) -> None:
    (folder / "training.json").write_bytes(content)
    read_record(folder / "training.json", Training)


def _watch(content: bytes, folder: Path) -> None:
    (folder / "watch.json").write_bytes(content)
    read_watch_record(folder / "watch.json")


def _seeds(*texts: str) -> "list[bytes]":
    return [text.encode() for text in texts]


def _record_seeds(_: Path) -> Sequence[bytes]:
    return _seeds(json.dumps({"model": "cnn", "task": "multiclass", "parameters": 1, "versions": {}}), "{}")


TEXTS: dict[str, Target] = {
    "params.yaml": Target(_read_params, _params_seeds, (), YAML_WORDS),
    "--set": Target(_set, lambda _: _seeds("lr=0.5\nlist.0=4", "models.dense.units=[1, 2]"), (), YAML_WORDS),
    "--grid": Target(_grid, lambda _: _seeds("lr=0.1,0.2\nmodels.dense.epochs=1,2"), (), YAML_WORDS),
    "--space": Target(
        _space, lambda _: _seeds("lr=0.1..0.5:log", "models.dense.epochs=1..9:int:step=2", "lr=1|2"), (), YAML_WORDS
    ),
    "execution.yaml": Target(
        _policies, lambda _: [(ROOT / "execution.yaml").read_bytes(), b"stages: {a: {retries: 1}}"], (), YAML_WORDS
    ),
    "timing records": Target(_timings, lambda _: _seeds('{"train": [1.5, 2]}'), (), YAML_WORDS),
    "training records": Target(_training, _record_seeds, (), YAML_WORDS),
    "watch records": Target(_watch, lambda _: _seeds('{"model": "a"}'), (), YAML_WORDS),
    "addresses of models": Target(lambda content, _: is_address(_texts(content)[0]), lambda _: _seeds("cnn@prod")),
}  # fmt: skip
