"""Arguments that `inkflow serve` refuses before it listens."""

from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from stages.base.errors import InvalidInput
from stages.serve import command
from tests.support.model_server import model_server
from tests.support.pictures import write_reader
from tests.support.tiny_data import expect_error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the model `reader`."""
    write_reader(tmp_path / "models/reader/model.onnx")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no model 'nothing'"),
        (["reader", "--host", "192.0.2.1"], "INKFLOW_SERVE_TOKEN"),
    ],
)
def test_bad_arguments(
    folder: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A server that cannot start says why."""
    monkeypatch.chdir(folder)
    code, error = expect_error(command.main, arguments, capsys)
    assert code == InvalidInput.exit_code and message in error


@pytest.mark.farm
def test_a_process_that_cannot_start_says_why(folder: Path) -> None:
    """The same from the program itself."""
    with pytest.raises(AssertionError, match="there is no model 'nothing'"), model_server(folder, "nothing"):
        pass


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        *((f"--port={port}", "a whole number from 0 to 65535") for port in ("70000", "-1", "x")),
        *((f"--{name}=0", "a whole number from 1 to") for name in ("max-queue", "max-body", "max-pixels")),
        *((f"--timeout={value}", "a number of seconds above 0") for value in ("nan", "inf", "0", "-1", "x")),
        ("--fetch=nan", "a number of seconds above 0"),
        *((f"--host={host}", "an address or a name of this machine") for host in ("..", "", "x" * 70)),
        *((f"--name={name}", "a printable name without /") for name in ("", "a/b", "..", "a\udcff")),
    ],
)
def test_values_that_no_server_can_have(argument: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number, address or name that cannot be used is refused before the model is opened or fetched."""
    with pytest.raises(SystemExit) as caught:
        inkflow(["serve", "nothing", argument])
    assert caught.value.code == 2
    option, _, value = argument.partition("=")
    assert f"argument {option}: got {value!r}, expected {expected}" in capsys.readouterr().err
