"""Random edits of Python files, each made so that it is known whether Python runs something else afterwards."""

import ast
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from random import Random
from typing import Any


@dataclass(frozen=True)
class RandomEdit:
    """An edit of one file.

    Attributes:
        file: the file.
        kind: name of the function that made the edit.
        text: the text of the file afterwards.
        is_cosmetic: whether the program stays the same.
    """

    file: str
    kind: str
    text: str
    is_cosmetic: bool


def random_edit(random: Random, texts: Mapping[str, str]) -> RandomEdit:
    """Returns an edit of one of the files `texts`; one half of all edits is cosmetic.

    The bytecode without docstrings and line numbers confirms what the edit was made for.
    """
    is_cosmetic = random.random() < 0.5
    while True:
        file = random.choice(sorted(texts))
        change = random.choice(COSMETIC if is_cosmetic else EFFECTIVE)
        text = change(random, texts[file])
        if text is None or text == texts[file] or not _compiles(text):
            continue
        is_same = _bytecode(text) == _bytecode(texts[file])
        assert is_same or not is_cosmetic, (file, change)
        if is_same == is_cosmetic:  # the removal of an unused constant changes no bytecode
            return RandomEdit(file, change.__name__, text, is_cosmetic)


def random_command(random: Random, run: str, file: str) -> tuple[str, bool]:
    """Returns the command `run` in another form, and whether its program, or one beside it, may read `file` as text."""
    is_read = random.random() < 0.5
    form = random.choice(READING if is_read else NOT_READING)
    return form.format(run=run, file=file, folder=str(PurePosixPath(file).parent)), is_read


def has_code(text: str) -> bool:
    """Returns True if a module has more than a docstring."""
    return len(ast.parse(text).body) > 1


def add_comment_line(random: Random, text: str) -> str:
    """Adds a comment before a statement."""
    lines, statement = text.splitlines(keepends=True), random.choice(list(_statements(text)))
    number = statement.lineno - 1
    lines.insert(number, f"{' ' * random.randrange(9)}# x = {random.random()}\n")
    return "".join(lines)


def add_comment_behind(random: Random, text: str) -> str | None:
    """Adds a comment after a statement."""
    lines, statement = text.splitlines(), random.choice(list(_statements(text)))
    number = (statement.end_lineno or 1) - 1
    if len(lines[number].encode()) != statement.end_col_offset:
        return None
    lines[number] += "  # type: ignore"
    return "\n".join(lines) + "\n"


def add_blank_lines(random: Random, text: str) -> str:
    """Adds blank lines before a statement."""
    lines, statement = text.splitlines(keepends=True), random.choice(list(_statements(text)))
    lines.insert(statement.lineno - 1, "\n   \n\n")
    return "".join(lines)


def write_anew(random: Random, text: str) -> str:
    """Writes the whole file in another form, without comments."""
    return ast.unparse(ast.parse(text)) + "\n"


def end_lines_as_windows(random: Random, text: str) -> str:
    """Ends all lines as Windows does."""
    return text.replace("\n", "\r\n") if "\\\n" not in text else text + "# end"


def edit_docstring(random: Random, text: str) -> str | None:
    """Changes the docstring of a plain function, in a module that reads none."""
    tree = ast.parse(text)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
    documented = [node for node in functions if ast.get_docstring(node)]
    if not documented or "__doc__" in text:
        return None
    node = random.choice(documented).body[0]
    lines = text.splitlines(keepends=True)
    first, last = node.lineno - 1, node.end_lineno or 0
    return "".join([*lines[:first], f'{" " * node.col_offset}"""New."""\n', *lines[last:]])


def change_number(random: Random, text: str) -> str | None:
    """Adds one to a number."""
    return _replace(random, text, lambda node: isinstance(node.value, int | float), lambda value: value + 1)


def change_text(random: Random, text: str) -> str | None:
    """Changes a text that is no docstring."""
    return _replace(random, text, lambda node: isinstance(node.value, str), lambda value: value + "x")


def remove_statement(random: Random, text: str) -> str | None:
    """Replaces a statement by `pass`."""
    tree = ast.parse(text)
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.If | ast.For)]
    if not blocks:
        return None
    block = random.choice(blocks)
    index = random.randrange(len(block.body))
    if _is_docstring(block.body[index]) or isinstance(block.body[index], ast.Pass):
        return None
    block.body[index] = ast.Pass()
    return ast.unparse(tree) + "\n"


def swap_operator(random: Random, text: str) -> str | None:
    """Replaces an operator."""
    tree = ast.parse(text)
    operations = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp)]
    if not operations:
        return None
    node = random.choice(operations)
    node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def add_statement(random: Random, text: str) -> str:
    """Adds a statement."""
    return f"{text}\n_ADDED = {random.random()}\n"


COSMETIC: list[Callable[[Random, str], str | None]] = [
    add_comment_line, add_comment_behind, add_blank_lines, write_anew, end_lines_as_windows, edit_docstring,
]  # fmt: skip
EFFECTIVE: list[Callable[[Random, str], str | None]] = [
    change_number, change_text, remove_statement, swap_operator, add_statement,
]  # fmt: skip


READING = [
    "{run} --color '#1f77b4' && cat {file} > copy",
    '{run} --hash "$(sha256sum {file})"',
    "{run} --hash `md5sum {file}`",
    'HASH="$(sha256sum {file})" {run}',
    "FILE={file} {run}",
    "export FILE={file} && {run}",
    "{run} {folder}/*.py",
    "{run} --files=x,{file}",
    "{run} && python -c 'import inspect, api; print(inspect.getsource(api))'",
    "{run} && python -c 'archive.add(\"{folder}\")'",
    "{run} && python -c 'log_model(code_paths=[\"{folder}\"])'",
    '{run} && python -c \'start(env={{"working_dir": "."}})\'',
]
NOT_READING = [
    "{run} --color '#1f77b4' # && cat {file} > copy",
    "{run} --price '$5' data/*.csv",
    "{run} --note '`x`' > log",
    "mkdir -p out && SEED=1 {run}",
    '{run} && python -c \'print("#", ".")\'',
]


def _statements(text: str) -> Iterator[ast.stmt]:
    """Yields statements on lines of their own, outside of one-line blocks and decorators."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        is_plain = isinstance(node, ast.stmt) and not getattr(node, "decorator_list", [])
        if isinstance(node, ast.stmt) and is_plain and not lines[node.lineno - 1].encode()[: node.col_offset].strip():
            yield node


def _replace(
    random: Random, text: str, is_wanted: Callable[[ast.Constant], bool], change: Callable[[Any], Any]
) -> str | None:
    """Changes a constant that is no docstring and no part of an f-string."""
    tree = ast.parse(text)
    skipped = {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Expr) for inner in ast.walk(node)
    }
    constants = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and type(node.value) is not bool
        and is_wanted(node)
        and id(node) not in skipped
    ]
    if not constants:
        return None
    node = random.choice(constants)
    node.value = change(node.value)
    return ast.unparse(tree) + "\n"


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _compiles(text: str) -> bool:
    try:
        compile(text, "x", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _bytecode(text: str) -> object:
    """Returns the instructions of a module and of all its functions, without docstrings.

    The text is written anew before, since Python adds instructions without effect where lines begin.
    """
    return _content(compile(ast.unparse(ast.parse(text)), "x", "exec", optimize=2, dont_inherit=True))


def _content(code: types.CodeType) -> object:
    constants = [_content(item) if isinstance(item, types.CodeType) else repr(item) for item in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_flags, code.co_name
