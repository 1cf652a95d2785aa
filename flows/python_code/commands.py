"""Reads the shell commands of a stage, and finds the Python programs that they start."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PYTHON = re.compile(r"(pythonw?|pypy)(\d+(\.\d+)*)?(\.exe)?|\$\{?\w*python\w*(:-[^}]*)?\}?", re.IGNORECASE)
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
OPERATOR = re.compile(r"[();<>|&]+")
RUNNERS = {"poetry", "uv", "pipenv", "pdm", "rye", "hatch"}  # RUNNER run [OPTION...] COMMAND
RUNNER_VALUES = {"--with", "--extra", "--group", "--python", "-p", "--project", "--directory", "--env-file", "--index"}
WRAPPERS = {"env", "exec", "nohup", "time", "command", "stdbuf", "nice", "ionice", "timeout", "setsid"}
HARMLESS = {"cd", "export", "mkdir", "set", "true", ":", "echo", "test", "["}  # commands that read no file
PYTHON_VALUES = "WX"  # options of Python with a value
QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
COMPUTED = {"$", "`"}  # begin what the shell replaces, also in double quotes
BRACE = "\ue003"  # stands for `{` in quotes
MASKS = {"#": "\ue000", "$": "\ue001", "`": "\ue002", "{": BRACE}  # stand for characters that quotes make plain text
MASKED = {ord(character): mask for character, mask in MASKS.items()}
PLAIN = {ord(mask): character for character, mask in MASKS.items()}


@dataclass(frozen=True)
class Program:
    """A Python program that a command starts.

    Attributes:
        folder: the folder in which it starts.
        module: the module of `-m`; empty for a script.
        script: the path of a script, relative to `folder`.
        code: the text of `-c`.
        search: the folders of a PYTHONPATH that the command sets.
        safe_path: True if `folder`, or that of the script, is not searched for modules: `-P` or `-I`.
        arguments: the words of the command after the program; in them and in variables, BRACE is a `{` in quotes.
        variables: the variables that the command sets for it, `NAME=VALUE`, without PYTHONPATH.
        is_computed: True if the shell computes a part of its arguments or variables: `$(...)`, `$NAME`.
    """

    folder: Path
    module: str = ""
    script: str = ""
    code: str = ""
    search: tuple[str, ...] = ()
    safe_path: bool = False
    arguments: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    is_computed: bool = False

    @property
    def name(self) -> str:
        """The program as the command names it."""
        return self.module or self.script or "python -c"


@dataclass(frozen=True)
class OtherCommand:
    """A command that is no Python program, as far as can be seen."""

    text: str

    @property
    def is_harmless(self) -> bool:
        """True if the command reads no file: `mkdir`, `echo` and so on."""
        return self.text.split(" ")[0] in HARMLESS and not re.search(r"[`<]|\$\(", self.text)


def parse_commands(lines: Sequence[str], folder: Path) -> list[Program | OtherCommand]:
    """Returns the commands of a stage, whose shell lines start in `folder` one after another."""
    return [command for line in lines for command in _parse_line(line, folder)]


def _parse_line(line: str, folder: Path) -> Iterator[Program | OtherCommand]:
    try:
        parts = list(_simple_commands(line))
    except ValueError:  # a quotation mark without its pair
        parts = [[line]]
        line = ""
    search: tuple[str, ...] = ()
    for words in parts:
        if words[0] == "cd" and len(words) == 2:
            folder = folder / _plain(words[1])
        elif words[0] == "export":
            search = _python_path(words[1:]) or search
        yield _parse(words, folder, search) if line else OtherCommand(words[0])


def _simple_commands(line: str) -> Iterator[list[str]]:
    """Yields the words of each command of a shell line, masked in quotes; targets of redirections count as words."""
    lexer = shlex.shlex(QUOTED.sub(_mask, line), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in lexer:
        if word.startswith("#"):
            break
        if OPERATOR.fullmatch(word) and not {"<", ">"} & set(word):
            if words:
                yield words
            words = []
        elif "<" in word or not OPERATOR.fullmatch(word):
            words.append(word)
    if words:
        yield words


def _mask(quoted: re.Match[str]) -> str:
    """Returns a quoted text in which masks stand for the characters that have no meaning for the shell there."""
    text = quoted[0]
    if text[0] == '"':
        text = re.sub(r"\\([$`])", lambda escaped: MASKS[escaped[1]], text)
        return re.sub(r"#|(?<!\$)\{", lambda plain: MASKS[plain[0]], text)
    return text.translate(MASKED)


def _plain(word: str, kept: str = "") -> str:
    """Returns a word without masks; those in `kept` stay."""
    return "".join(item if item in kept else item.translate(PLAIN) for item in word)


def _parse(words: Sequence[str], folder: Path, search: tuple[str, ...]) -> Program | OtherCommand:
    rest = list(words)
    variables: list[str] = []
    other = OtherCommand(_plain(" ".join(words)))
    while rest:
        word = rest[0]
        name = word.rpartition("/")[2]
        if ASSIGNMENT.match(word):
            search = _python_path([word]) or search
            variables += [] if word.startswith("PYTHONPATH=") else [word]
        elif name in RUNNERS and rest[1:2] == ["run"]:
            rest = _without_options(rest[1:], RUNNER_VALUES)
            continue
        elif PYTHON.fullmatch(name):
            program = _python(rest[1:], folder, search)
            return _unmasked(program, variables) if program else other
        elif word.endswith(".py"):
            return _unmasked(Program(folder, "", word, "", search, arguments=tuple(rest[1:])), variables)
        elif name not in WRAPPERS and not word.startswith("-") and not word[:1].isdigit():
            break
        del rest[0]
    return other


def _unmasked(program: Program, variables: Sequence[str]) -> Program:
    """Returns `program` with its variables and without masks, which tell before whether the shell computes a part."""
    return replace(
        program,
        module=_plain(program.module),
        script=_plain(program.script),
        code=_plain(program.code),
        search=tuple(map(_plain, program.search)),
        arguments=tuple(_plain(word, BRACE) for word in program.arguments),
        variables=tuple(_plain(word, BRACE) for word in variables),
        is_computed=any(COMPUTED & set(word) for word in [program.code, *program.arguments, *variables]),
    )


def _without_options(words: list[str], with_value: set[str]) -> list[str]:
    """Returns the words after the first one and the options that follow it."""
    rest = words[1:]
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in with_value else rest[1:]
    return rest


def _python(words: list[str], folder: Path, search: tuple[str, ...]) -> Program | None:
    """Returns the program that Python runs with the arguments `words`; None for standard input."""
    safe_path = False
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        if option.startswith("--"):
            rest = rest[1:] if option == "--check-hash-based-pycs" else rest
            continue
        for number, letter in enumerate(option[1:], 2):
            safe_path |= letter in "PI"
            search = () if letter in "EI" else search
            if letter in "mc" + PYTHON_VALUES:
                value = option[number:] or (rest.pop(0) if rest else "")
                if letter in PYTHON_VALUES:
                    break
                module, code = (value, "") if letter == "m" else ("", value)
                return Program(folder, module, "", code, search, safe_path, tuple(rest)) if value else None
    if not rest or rest[0] == "-":
        return None
    return Program(folder, "", rest[0], "", search, safe_path, tuple(rest[1:]))


def _python_path(words: Sequence[str]) -> tuple[str, ...]:
    """Returns the folders of the last PYTHONPATH that `words` set."""
    values = [word.partition("=")[2] for word in words if word.startswith("PYTHONPATH=")]
    return tuple(part for part in values[-1].split(":") if part and "$" not in part) if values else ()
