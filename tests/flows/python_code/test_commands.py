"""The Python programs that the command of a stage starts are found, in the forms that people write."""

from pathlib import Path

import pytest

from flows.python_code.commands import OtherCommand, Program, parse_commands

HERE = Path("/project")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python -m a.b --x 1", Program(HERE, module="a.b", arguments=("--x", "1"))),
        ("python3.12 src/a.py in.csv > log", Program(HERE, script="src/a.py", arguments=("in.csv", "log"))),
        ("/usr/bin/python -u -W error -Pm a", Program(HERE, module="a", safe_path=True)),
        ("PYTHONPATH=src:lib SEED=1 python -ma", Program(HERE, "a", search=("src", "lib"), variables=("SEED=1",))),
        ("env PYTHONPATH=src timeout 60 nice -n 5 python a.py", Program(HERE, script="a.py", search=("src",))),
        ("PYTHONPATH=src python -I a.py", Program(HERE, script="a.py", safe_path=True)),
        ("poetry run python -m a", Program(HERE, module="a")),
        ("uv run --with numpy a.py -q", Program(HERE, script="a.py", arguments=("-q",))),
        ("pdm run python a.py # a comment", Program(HERE, script="a.py")),
        ("./tools/a.py x", Program(HERE, script="./tools/a.py", arguments=("x",))),
        ('"${PYTHON:-python3}" a.py', Program(HERE, script="a.py")),
        ("python a.py '{a,b}' {c,d} \\{", Program(HERE, script="a.py", arguments=("\ue003a,b}", "{c,d}", "\ue003"))),
        ("python -c 'import a; a.b({1, 2})' 1", Program(HERE, code="import a; a.b({1, 2})", arguments=("1",))),
        ("python -c 'import a; a.b()' 1", Program(HERE, code="import a; a.b()", arguments=("1",))),
        ("python a.py '#1' \"#2\" \\#3 a#4 # '5'", Program(HERE, script="a.py", arguments=("#1", "#2", "#3", "a#4"))),
        ("python a.py '$x' \\$y '`z`' \"\\$1\"", Program(HERE, script="a.py", arguments=("$x", "$y", "`z`", "$1"))),
        ('python a.py "$x"', Program(HERE, script="a.py", arguments=("$x",), is_computed=True)),
        ('A=`b` "$PYTHON" a.py', Program(HERE, script="a.py", variables=("A=`b`",), is_computed=True)),
        ('PYTHONPATH="$PWD" python -c "f(\'$x\')"', Program(HERE, code="f('$x')", is_computed=True)),
        ('PYTHONPATH="$PWD:lib" python a.py', Program(HERE, script="a.py", search=("lib",))),
    ],
)
def test_programs_are_found(line: str, expected: Program) -> None:
    """A program is found with its folder, its search path and its arguments."""
    assert parse_commands([line], HERE) == [expected]


def test_a_line_of_many_commands() -> None:
    """`cd` and `export` hold for the commands after them on the line, and for no other line."""
    lines = ["mkdir -p out && cd sub; export PYTHONPATH=lib && python a.py | tee log", "python b.py"]
    assert parse_commands(lines, HERE) == [
        OtherCommand("mkdir -p out"),
        OtherCommand("cd sub"),
        OtherCommand("export PYTHONPATH=lib"),
        Program(HERE / "sub", script="a.py", search=("lib",)),
        OtherCommand("tee log"),
        Program(HERE, script="b.py"),
    ]


def test_a_character_in_quotes_begins_no_comment() -> None:
    """The commands behind a `#` in quotes are seen, those behind a comment are not."""
    commands = parse_commands(["python a.py --color '#1f77b4' && python b.py # && python c.py"], HERE)
    assert commands == [
        Program(HERE, script="a.py", arguments=("--color", "#1f77b4")),
        Program(HERE, script="b.py"),
    ]


@pytest.mark.parametrize("line", ["bash run.sh", "jupyter nbconvert a.ipynb", "python - < a.py", "python 'a", "make"])
def test_other_commands_are_none(line: str) -> None:
    """What is no Python program, or not to be read, is another command."""
    (command,) = parse_commands([line], HERE)
    assert isinstance(command, OtherCommand)
    assert not command.is_harmless


def test_harmless_commands() -> None:
    """Commands that read no file are told from those that may; a substitution may read any file."""
    lines = ["mkdir -p a", "echo >> a.runs", "echo `cat a.py`", "echo $(cat b.py)", "set -e"]
    commands = [item for item in parse_commands(lines, HERE) if isinstance(item, OtherCommand)]
    assert [item.text for item in commands if not item.is_harmless] == ["echo `cat a.py`", "cat b.py"]
