"""Texts of others in the files of a real project: what commands print about it, and the page of its versions."""

import contextlib
import functools
import io
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.cli.main import main
from stages.base.errors import InvalidInput, exit_with
from tests.torture.support.hostile import HARMLESS, check_html, check_terminal
from tests.torture.support.published import file_named

Texts = Mapping[str, str]  # by door
DOORS = ("stage", "parameter", "value", "file")
COMMANDS = (
    ("run", "--no-server"),
    ("plan",),
    ("plan", "--json"),
    ("compare", "HEAD"),
    ("report", "--runs"),
)
PAGE = ".inkflow/report/runs.html"


def real_run(texts: Texts) -> str:
    """Returns what the commands print; the page has to be like that of harmless texts.

    Raises:
        InvalidInput: A command refuses a text, in fit words, or no file of YAML has it.
    """
    output, page = _tried(texts)
    check_html(page, _harmless_page(), "")
    return output


@functools.cache
def _harmless_page() -> str:
    return _tried(dict.fromkeys(DOORS, HARMLESS))[1]


def _tried(texts: Texts) -> tuple[str, str]:
    folder = Path("real").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with contextlib.chdir(folder):
        _write_project(texts)
        output = "".join(map(_printed, COMMANDS))
        return output, Path(PAGE).read_text(encoding="utf-8")


def _write_project(texts: Texts) -> None:
    """Writes and commits a project with a stage that prints its parameter and the name of its file."""
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init(".").close()
    name = file_named(texts["file"])
    (Path("in") / name).parent.mkdir()
    (Path("in") / name).write_text("x")
    stage = {
        "cmd": "cat params.yaml && ls in >&2 && cp -r in out",
        "deps": [f"in/{name}"],
        "params": [texts["parameter"]],
        "outs": ["out"],
    }
    _write_yaml("dvc.yaml", {"stages": {"tell": {"foreach": {texts["stage"]: 1}, "do": stage}}})
    _write_yaml("params.yaml", {texts["parameter"]: texts["value"]})
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    _write_yaml("params.yaml", {texts["parameter"]: f"{texts['value']} again"})


def _write_yaml(path: str, content: object) -> None:
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.width = 10_000  # a long key that is divided cannot be read
    yaml.dump(content, stream)
    try:
        Path(path).write_text(stream.getvalue(), encoding="utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput("no file of YAML has this text") from error


def _printed(words: Sequence[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        code = exit_with(lambda: main(list(words)))
    text = output.getvalue()
    assert "Traceback" not in text, text
    if code:
        check_terminal(text, "", "")
        raise InvalidInput(text)
    return text
