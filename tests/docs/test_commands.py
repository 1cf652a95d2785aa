"""Every command that a page shows exists: our verbs, options, targets and programs, and those of DVC and Prefect."""

import argparse
import ast
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from dvc.cli.parser import get_main_parser
from prefect.cli import app as prefect_app

from flows.cli.verbs import VERBS
from tests.docs.commands import parsers
from tests.docs.shell_blocks import pages, typed_commands
from tests.support.root import ROOT

# Programs of others, and words of the shell, that pages use as anybody knows them.
OTHERS = {
    "cat", "cd", "curl", "docker", "export", "git", "grep", "kubectl", "mlflow", "pip", "source", "tensorboard", "true",
}  # fmt: skip
OTHER_PROGRAMS = {"venv", "prefect", "prefect.engine", "mlflow", "pkg.mod", "stages.NAME"}  # of others, and examples
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
INLINE = re.compile(r"(?<!`)`((?:inkflow|make|dvc|python -m|python examples/) ?[^`]*)`(?!`)")
ELLIPSIS = re.compile(r"^\.\.\.$|^\[.*\]$|^[A-Z_@]+$")  # what the reader fills in


def words(text: str) -> Iterator[list[str]]:
    """Yields the words of each command in a text of the shell; comments and redirections are left out."""
    pending = ""
    for line in text.splitlines():
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        try:
            lexer = shlex.shlex(pending, posix=True, punctuation_chars="();<>|&")
            lexer.whitespace_split = True
            tokens = list(lexer)
        except ValueError:  # a quotation goes on in the next line
            pending += "\n"
            continue
        pending = ""
        yield from _commands(tokens)
    assert not pending.strip(), f"an open quotation: {pending}"


def _commands(tokens: Sequence[str]) -> Iterator[list[str]]:
    command: list[str] = []
    is_target = False  # of a redirection
    for token in [*tokens, ";"]:
        if set(token) <= set("();|&"):
            if command:
                yield command
            command = []
        elif set(token) <= set("<>&"):
            is_target = True
            if command and command[-1].isdigit():
                command.pop()
        elif is_target:
            is_target = False
        elif command or not ASSIGNMENT.fullmatch(token):
            command.append(token)


def problem(command: Sequence[str]) -> str:
    """Returns what is wrong with a command; an empty text if all that it names exists."""
    name, *rest = command
    if name in ("inkflow", "dvc", "prefect", "make", "python"):
        return {"inkflow": _inkflow, "dvc": _dvc, "prefect": _prefect, "make": _make, "python": _python}[name](rest)
    return "" if name in OTHERS else f"{name} is neither a command of this project nor one of OTHERS"


@cache
def verbs() -> dict[str, argparse.ArgumentParser]:
    """Returns the parsers of `inkflow`, by their words."""
    return parsers()


def _inkflow(rest: list[str]) -> str:
    if not rest or rest[0].startswith("-"):
        return "" if rest in ([], ["--help"], ["--version"]) else f"inkflow has no option {rest[0]}"
    verb = " ".join(rest[:2]) if " ".join(rest[:2]) in verbs() else rest[0]
    if verb not in verbs():
        return f"inkflow has no verb {verb}"
    return _unknown_option(verbs()[verb], rest[len(verb.split()) :]) or _parse(verbs()[verb], rest[len(verb.split()) :])


def _unknown_option(parser: argparse.ArgumentParser, rest: Sequence[str]) -> str:
    for word in rest:
        if word == "--":
            return ""
        if word.startswith("--") and word.partition("=")[0] not in parser._option_string_actions:
            return f"{parser.prog} has no option {word}"
    return ""


def _parse(parser: argparse.ArgumentParser, rest: list[str]) -> str:
    """Parses a whole command, unless the reader has to fill something in."""
    if any(ELLIPSIS.match(word) or "..." in word for word in rest):
        return ""
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message), contextlib.redirect_stdout(message):
            _, left = parser.parse_known_args(rest)
    except SystemExit as end:
        return message.getvalue().strip() if end.code else ""
    return f"{parser.prog} does not know {left}" if left else ""


@cache
def _dvc_parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = get_main_parser()
    return parser


@cache
def _dvc_verbs() -> set[str]:
    actions = _dvc_parser()._actions
    return {name for action in actions if isinstance(action, argparse._SubParsersAction) for name in action.choices}


def _dvc(rest: list[str]) -> str:
    if any(ELLIPSIS.match(word) for word in rest):
        rest = rest[:1]
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message), contextlib.redirect_stdout(message):
            _dvc_parser().parse_args(rest)
    except SystemExit as end:
        return f"dvc {' '.join(rest)}: {message.getvalue().strip()[-200:]}" if end.code else ""
    except Exception as error:  # noqa: BLE001 - DVC's own for its usage
        return f"dvc {' '.join(rest)}: {error}"
    return ""


def _prefect(rest: list[str]) -> str:
    verb = [word for word in rest[:2] if re.fullmatch("[a-z-]+", word) and not word.startswith("-")]
    help_text = _prefect_help(*verb) or _prefect_help(*verb[:1])
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in help_text]
    return "" if help_text and not unknown else f"prefect {' '.join(rest)}: not known: {unknown or verb}"


@cache
def _prefect_help(*verb: str) -> str:
    """Returns the help of a verb of Prefect; an empty text if it has no such verb."""
    output = io.StringIO()
    before, sys.argv = sys.argv, ["prefect", *verb, "--help"]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            prefect_app()
    except SystemExit as end:
        return "" if end.code else output.getvalue()
    finally:
        sys.argv = before
    return output.getvalue()


def _make(rest: list[str]) -> str:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown = [word for word in rest if "=" not in word and word not in targets and not ELLIPSIS.match(word)]
    return f"make has no target {unknown[0]}" if unknown else ""


def _python(rest: list[str]) -> str:
    if rest[0] == "-m":
        if len(rest) == 1 or rest[1] in OTHER_PROGRAMS or ELLIPSIS.match(rest[1]):
            return ""
        path = ROOT.joinpath(*rest[1].removeprefix("inkflow.").split("."))
        files = [file for file in (path.with_suffix(".py"), path / "__main__.py") if file.is_file()]
        if not files:
            return f"there is no program {rest[1]}"
        folder = files[0].parent
        sources = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
        unknown = [word for word in rest[2:] if word.startswith("--") and f'"{word}"' not in sources]
        return f"{rest[1]} has no option {unknown[0]}" if unknown and unknown[0] != "--help" else ""
    return "" if rest[0] == "-" or (ROOT / rest[0]).is_file() else f"there is no program {rest[0]}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    """Each command in a block has its verb, its options and the values that its parser accepts."""
    problems = {
        shlex.join(command): reason
        for text in typed_commands(page)
        for command in words(text)
        if (reason := problem(command))
    }
    assert problems == {}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_in_sentences_exist(page: Path) -> None:
    """A command that a sentence names has its verb and its options; values may be left out there."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert problems_in_sentences(text) == {}


def problems_in_sentences(text: str) -> dict[str, str]:
    """Returns what is wrong with the commands in backticks of a text, by command."""
    problems = {}
    for match in INLINE.finditer(text):
        try:
            commands = list(words(" ".join(match[1].replace("\\|", "|").split())))
        except AssertionError:  # a quotation that the sentence cuts
            continue
        for name, *rest in commands:
            if any(ELLIPSIS.match(word) for word in rest[:1]):  # the verb is to be filled in
                reason = ""
            elif name == "inkflow" and rest and rest[0] in VERBS:
                reason = _unknown_option(verbs()[rest[0]], rest[1:]) if " ".join(rest[:2]) not in verbs() else ""
            elif name == "dvc" and rest and not rest[0].startswith("-"):
                reason = "" if rest[0] in _dvc_verbs() else f"dvc has no verb {rest[0]}"
            else:
                reason = problem([name, *rest]) if name in ("make", "python", "inkflow") else ""
            if reason:
                problems[match[1]] = reason
    return problems


def _literals(file: Path) -> Iterator[str]:
    """Yields the texts in a program's code, docstrings too; a value that an f-string puts in is `VALUE`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


@pytest.mark.parametrize("folder", ["flows", "stages", "inkflow"])
def test_commands_in_messages_exist(folder: str) -> None:
    """A command that a message or a docstring of the programs names has its verb and its options."""
    found = {
        f"{file.relative_to(ROOT)}: {command}": reason
        for file in (ROOT / folder).rglob("*.py")
        for text in _literals(file)
        for command, reason in problems_in_sentences(text).items()
    }
    assert found == {}


def test_mistakes_in_messages_are_found(tmp_path: Path) -> None:
    """A command that does not exist is found in a text, and in an f-string around its values."""
    (tmp_path / "a.py").write_text(
        'A = "run `inkflow push` " "it"\nB = f"`inkflow run {A} --frce`, `inkflow {A}`, `dvc psh`"\n'
    )
    found = [problems_in_sentences(text) for text in _literals(tmp_path / "a.py")]
    names = {command for problems in found for command in problems}
    assert names == {"inkflow push", "inkflow run VALUE --frce", "dvc psh"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("inkflow rum", "no verb rum"),
        ("inkflow run --sett a=1", "no option --sett"),
        ("inkflow run --jobs two", "two"),
        ("cd x && inkflow plan --jsn # why", "no option --jsn"),
        ("make tests", "no target tests"),
        ("python -m stages.trian", "no program stages.trian"),
        ("python examples/none.py", "no program examples/none.py"),
        ("dvc reproo", "dvc reproo"),
        ("prefect work-poool ls", "not known"),
        ("inkfow run", "inkfow is neither"),
    ],
)
def test_mistakes_in_pages_are_found(text: str, reason: str) -> None:
    """A command that does not exist is named: the test above would fail."""
    assert reason in " ".join(problem(command) for command in words(text))


def test_options_show_their_default() -> None:
    """The help of each option whose default is a value says it; nothing, an empty list and switches need no word."""
    actions = [(words, action) for words, parser in parsers().items() for action in parser._actions]
    hidden = [
        f"{words} {'/'.join(action.option_strings)}: {action.default!r}"
        for words, action in actions
        if action.option_strings and action.nargs != 0 and action.default not in (None, []) and action.help
        if "default" not in action.help
    ]
    assert hidden == []


def test_the_help_of_ci_names_its_lanes() -> None:
    """`inkflow --help` names each lane of `inkflow ci`."""
    lanes = [words.split()[-1] for words in parsers() if words.startswith("ci ")]
    assert len(lanes) == 4 and all(lane in VERBS["ci"].help for lane in lanes)
