"""The reference of the commands: a page in Markdown from the parsers of `inkflow`."""

import argparse
from collections.abc import Iterator
from functools import partial

from flows.cli.main import make_parser
from flows.cli.verbs import VERBS

WIDTH = 84  # characters of a usage
HEAD = """# Commands

This page is made from the parsers of `inkflow`: it says what `inkflow VERB --help` says.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | invalid input: a command, a file or a setting has to be changed |
| 3 | `plan --exit-code`: a stage would run; `status`: something needs a person; `monitor`: an alarm stands; \
`verify --against`: nothing is different, and not everything could be compared |
| 69 | no source has the data, or none can be reached: of `run` and `verify`, from their stage, and of `data` |
| 130 | interrupted with Ctrl-C |

If a stage fails, `run` and `verify` end with the exit code of the stage. If the reader of the output ends early, as
`head` does, the code is 141.

| verb | does |
|---|---|
"""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Returns the parser of each verb, and of each verb of a verb (`ci check`), by its words."""
    found: dict[str, argparse.ArgumentParser] = {}
    _collect(make_parser(list(VERBS)), "", found)
    return found


def _collect(parser: argparse.ArgumentParser, words: str, found: dict[str, argparse.ArgumentParser]) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                found[f"{words}{name}"] = sub
                _collect(sub, f"{words}{name} ", found)


def reference() -> str:
    """Returns the page."""
    rows = [f"| [`inkflow {name}`](#inkflow-{name}) | {verb.help} |\n" for name, verb in VERBS.items()]
    return HEAD + "".join(rows) + "".join(_section(words, parser) for words, parser in parsers().items())


def _section(words: str, parser: argparse.ArgumentParser) -> str:
    level = "##" + "#" * words.count(" ")
    parser.formatter_class = partial(argparse.RawDescriptionHelpFormatter, width=WIDTH)
    usage = parser.format_usage().removeprefix("usage: ").strip()
    text = f"\n{level} inkflow {words}\n\n{(parser.description or '').strip()}\n\n```text\n{usage}\n```\n"
    if rows := list(_rows(parser)):
        text += "\n| argument | meaning |\n|---|---|\n" + "".join(rows)
    return text + (f"\n```text\n{parser.epilog.strip()}\n```\n" if parser.epilog else "")


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        name = ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {_values(formatter, action)}")
        meaning = formatter._expand_help(action) if action.help else ""
        if action.default not in (None, False, True, [], argparse.SUPPRESS) and "default" not in meaning:
            meaning += f" (default: {action.default})"
        yield f"| `{_cell(name.strip())}` | {_cell(meaning)} |\n"


def _values(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """Returns the values of an argument as `--help` shows them: `N`, `{a,b}`, `BLACK WHITE`."""
    if not action.option_strings:  # without the brackets of its usage
        return formatter._metavar_formatter(action, action.dest)(1)[0]
    return formatter._format_args(action, formatter._get_default_metavar_for_optional(action))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
