"""params.yaml: every mistake has a message of one sentence before any work, and editors detect it too."""

import copy
import functools
import importlib
import json
import operator
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from stages.base.errors import EXIT_INVALID, InvalidInput, ParamsError, exit_with
from stages.params import generate
from stages.params.schema import check_params, load_params
from tests.support.root import ROOT

ARGUMENTS = {
    "params": ["--out", "out/valid.txt"],
    "download": ["--out", "out"],
    "prepare": ["--raw", "absent", "--out", "out"],
    "train": ["--model", "dense", "--data", "absent", "--out", "out"],
    "report": ["--out", "out"],
}
REMOVED = object()


@pytest.fixture
def content() -> dict[str, Any]:
    """The parsed params.yaml of the project, for changes by the tests."""
    parsed: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return copy.deepcopy(parsed)


def change(content: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Sets `value` at the `path` of keys separated by /, or removes the key if `value` is REMOVED."""
    *parents, last = path.split("/")
    section = functools.reduce(operator.getitem, parents, content)
    if value is REMOVED:
        del section[last]
    else:
        section[last] = value
    return content


DENSE: Mapping[str, Any] = {
    "network": "dense",
    "units": [8],
    "optimizer": {"name": "adam"},
    "batch_size": 8,
    "epochs": 1,
}
CUSTOM = {"network": "custom", "build": "custom.a:b", "optimizer": {"name": "adam"}, "batch_size": 8, "epochs": 1}

# Keys separated by /, an invalid value, and the expected message.
MISTAKES = [
    ("models/dense/epoch", 5, "models.dense.epoch: unknown key; did you mean 'epochs'?"),
    ("modles", {}, "modles: unknown key; did you mean 'models'?"),
    ("prepare/normalize", "unit", "prepare.normalize: unknown key; did you mean 'normalise'?"),
    ("models/dense/optimizer/learning_rat", 0.1, "did you mean 'learning_rate'?"),
    ("models/dense/filters", [3], "models.dense.filters: unknown key"),
    ("models/dense", {**CUSTOM, "dropout": 0.5}, "`dropout` has no effect on `network: custom`: `build` decides"),
    ("models/dense/epochs", -1, "models.dense.epochs: got -1, expected 1 or more"),
    ("models/dense/epochs", 0, "models.dense.epochs: got 0, expected 1 or more"),
    ("models/dense/epochs", 10_001, "models.dense.epochs: got 10001, expected 10000 or less"),
    ("models/dense/epochs", "five", "models.dense.epochs: got 'five'"),
    ("models/dense/epochs", 2.5, "models.dense.epochs: got 2.5"),
    ("models/dense/epochs", REMOVED, "models.dense.epochs: is missing"),
    ("models/dense/batch_size", 0, "models.dense.batch_size: got 0, expected 1 or more"),
    ("models/dense/dropout", 1.0, "models.dense.dropout: got 1.0, expected a number below 1"),
    ("models/dense/units", [512, 0], "models.dense.units.1: got 0, expected 1 or more"),
    ("models/dense/task", ["multiclass"], "models.dense.task: got ['multiclass'], expected one of"),
    ("models/dense/activation", "rellu", "did you mean 'relu'?"),
    ("models/dense/loss", "crossentropy", "models.dense.loss: got 'crossentropy', expected one of"),
    ("models/dense/optimizer/name", "adamm", "did you mean 'adam'?"),
    ("models/dense/network", "transformer", "got 'transformer' for 'network', expected one of"),
    ("models/cnn/filters", REMOVED, "models.cnn.filters: is missing"),
    ("models/a b", DENSE, "models: got the name 'a b', expected lower-case letters"),
    ("models/a;b", DENSE, "models: got the name 'a;b', expected lower-case letters"),
    ("models/..", DENSE, "models: got the name '..', expected lower-case letters"),
    ("models/" + "a" * 41, DENSE, "expected lower-case letters"),
    ("models", {"a/b": dict(DENSE)}, "models: got the name 'a/b', expected lower-case letters"),
    ("models", {}, "models: "),
    ("models", REMOVED, "models: is missing"),
    ("report", REMOVED, "report: is missing"),
    ("prepare", None, "prepare: "),
    ("prepare/validation", 1, "prepare.validation: got 1, expected a number below 1"),
    ("prepare/validation", -0.1, "prepare.validation: got -0.1, expected 0.0 or more"),
    ("prepare/samples", [1], "prepare.samples: "),
    ("prepare/crop", {"top": -7}, "prepare.crop.top: got -7, expected 0 or more"),
    ("datasets/mnist/url", "ftp://example.org/mnist.npz", "datasets.mnist.url: got 'ftp://"),
    ("datasets/mnist/sha256/x_train", "abc", "datasets.mnist.sha256.x_train: got 'abc'"),
    ("report/smoothing", 1.0, "report.smoothing: got 1.0, expected a number below 1"),
]
# Mistakes that JSON Schema cannot detect, because they concern two keys.
JOINT_MISTAKES = [
    (
        "dataset",
        "mnits",
        "which is not in `datasets`; did you mean 'mnist'? known: mnist, digits",
    ),
    ("prepare/samples", [5, 5], "got [5, 5], expected start below stop"),
    ("datasets/mnist/sha256", REMOVED, "needs `sha256`"),
    ("datasets/mnist/embedded", "digits", "has url and embedded, needs exactly one of `url`, `path` and `embedded`"),
    ("datasets/digits/stand_in_for", "letters", "`datasets.digits.stand_in_for` is 'letters'"),
    (
        "datasets/mnist/groups/urls/test",
        REMOVED,
        "has a digest of the test part in `sha256`, but `urls` does not name that part",
    ),
    ("models/dense_dropout/optimizer/momentum", 0.9, "`momentum` needs sgd or rmsprop, got adam"),
    ("models/cnn/optimizer/nesterov", True, "`nesterov` needs sgd, got adam"),
]


@pytest.mark.parametrize(("path", "value", "expected"), MISTAKES + JOINT_MISTAKES)
def test_a_mistake_has_one_message(content: dict[str, Any], path: str, value: object, expected: str) -> None:
    """The message about a mistake has the file, the key path, the value and the allowed values, in one sentence."""
    with pytest.raises(ParamsError) as caught:
        check_params(change(content, path, value), "params.yaml")
    (message,) = caught.value.messages
    assert expected in message
    assert str(caught.value) == f"params.yaml: {message}"
    assert "\n" not in message


def test_groups_are_held_out_of_data_that_can_have_some(content: dict[str, Any]) -> None:
    """Data of a library have no groups; those of a file may have them in it, as the stage `download` finds out."""
    change(content, "prepare/held_out", "groups")
    check_params(change(content, "datasets/mnist/groups", REMOVED))
    with pytest.raises(ParamsError, match=r"prepare\.held_out is groups, but datasets\.digits has none; choose"):
        check_params(change(content, "dataset", "digits"))


def test_all_mistakes_at_once(content: dict[str, Any]) -> None:
    """Two mistakes have two messages in one run."""
    change(content, "models/dense/epochs", -1)
    change(content, "report/smoothing", 2.0)
    with pytest.raises(ParamsError) as caught:
        check_params(content)
    assert len(caught.value.messages) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "needs sections dataset, datasets, prepare, models, report, got None"),
        (b"- a\n- b\n", "needs sections"),
        (b"dataset: [", "is not valid YAML"),
        (b"dataset: mnist\ndataset: digits\n", "is not valid YAML"),
        (b"dataset: \xff\xfe\n", "cannot be read"),
        (b"dataset: 2020-13-45\n", "is not valid YAML"),
    ],
    ids=["empty", "list", "broken", "duplicate key", "not UTF-8", "invalid date"],
)
def test_a_file_without_sections(tmp_path: Path, text: bytes, message: str) -> None:
    """An empty file, a list, invalid YAML, a duplicate key and other bytes each have their message."""
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    """The message about a missing params.yaml has a remedy."""
    with pytest.raises(ParamsError, match="not found; run from the project's folder or name the file"):
        load_params(tmp_path / "params.yaml")


def test_params_cannot_be_changed(content: dict[str, Any]) -> None:
    """Validated parameters are frozen."""
    params = check_params(content)
    with pytest.raises(ValidationError, match="frozen"):
        params.dataset = "digits"  # type: ignore[misc]


def test_the_five_models() -> None:
    """params.yaml has five models with these layers, optimizers, batch sizes and epochs."""
    models = load_params(ROOT / "params.yaml").models
    assert {
        name: (model.network, model.units, model.optimizer.name, model.batch_size, model.epochs, model.output)
        for name, model in list(models.items())[:5]
    } == {
        "dense": ("dense", [512], "rmsprop", 128, 5, "softmax"),
        "dense_small": ("dense", [32, 32], "rmsprop", 128, 5, "softmax"),
        "dense_dropout": ("dense", [128], "adam", 32, 5, "softmax"),
        "cnn_softmax": ("cnn", [64], "adam", 32, 5, "softmax"),
        "cnn": ("cnn", [64], "adam", 32, 10, "logits"),
    }


@pytest.mark.parametrize(
    ("program", "path", "value", "message"),
    [
        ("params", "models/dense/epochs", -1, "models.dense.epochs: got -1, expected 1 or more"),
        ("params", "gates/every/accuracy", 1, "gates.every.accuracy: unknown key; allowed: lower_bound"),
        ("params", "report/smoothing", 2.0, "report.smoothing: got 2.0, expected a number below 1.0"),
        ("download", "datasets/mnist/url", 1, "datasets.mnist.url: got 1, expected text"),
        ("download", "dataset", "mnits", "datasets: there is no key 'mnits'; did you mean 'mnist'?"),
        ("prepare", "prepare/validation", 1.5, "prepare.validation: got 1.5, expected a number below 1"),
        ("train", "models/dense/epochs", -1, "models.dense.epochs: got -1, expected 1 or more"),
        ("report", "report/smoothing", 2.0, "report.smoothing: got 2.0, expected a number below 1.0"),
        ("report", "models/dense/epochs", -1, "models.dense.epochs: got -1, expected 1 or more"),
    ],
)
def test_every_program_stops_before_any_work(
    program: str,
    path: str,
    value: object,
    message: str,
    content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistake in a section that a stage reads stops it with code 2 and one message, before it writes a file."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps(change(content, path, value)))
    monkeypatch.setattr(sys, "argv", [program, *ARGUMENTS[program]])
    main: Callable[[], int] = importlib.import_module(f"stages.{program}.__main__").main
    assert exit_with(main) == EXIT_INVALID
    error = capsys.readouterr().err
    assert error.startswith(f"error: params.yaml: {message}") and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_the_command_rejects_an_invalid_file(content: dict[str, Any], tmp_path: Path) -> None:
    """`inkflow run` prints the same message with exit code 2 and no traceback."""
    (tmp_path / "params.yaml").write_text(json.dumps(change(content, "models/dense/epochs", -1)))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / generate.SCHEMA_PATH, tmp_path)
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", tmp_path / ".dvc")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "flows", "run"]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == EXIT_INVALID
    assert "models.dense.epochs: got -1, expected 1 or more" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_json_schema_accepts_params(content: dict[str, Any]) -> None:
    """The JSON Schema is valid, and the project's params.yaml conforms to it."""
    validator = jsonschema.Draft202012Validator(generate.json_schema())
    validator.check_schema(generate.json_schema())
    validator.validate(content)


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES)
def test_json_schema_rejects_the_same(content: dict[str, Any], path: str, value: object, message: str) -> None:
    """The JSON Schema rejects each mistake that concerns a single key, so that an editor can mark it."""
    invalid = change(content, path, value)
    assert not jsonschema.Draft202012Validator(generate.json_schema()).is_valid(invalid), message


def test_params_name_their_schema() -> None:
    """The first line of params.yaml names its schema for editors."""
    first = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={generate.SCHEMA_PATH}"


def test_generated_files_are_fresh() -> None:
    """params.schema.json and docs/parameters.md match stages/params/schema.py; `make schema` writes them."""
    assert generate.stale_files(ROOT) == []


def test_stale_files_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails for missing and edited files, names them, and succeeds after they are written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"params\.schema\.json, docs/parameters\.md: differs"):
        generate.main(["--check"])
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    generate.DOCS_PATH.write_text("edited")
    with pytest.raises(InvalidInput, match=r"^docs/parameters\.md: differs"):
        generate.main(["--check"])


def test_every_key_is_documented() -> None:
    """docs/parameters.md has every key of params.yaml."""
    page = (ROOT / generate.DOCS_PATH).read_text(encoding="utf-8")
    sections = [generate.json_schema(), *generate.json_schema()["$defs"].values()]
    keys = {key for section in sections for key in section["properties"]}
    assert {key for key in keys if f"| `{key}` |" not in page} == set()
