"""Two versions of a file are the same program exactly if Python runs the same."""

import pytest

from flows.python_code.readers import readers_in
from flows.python_code.syntax import is_same_program

BASE = '''"""Doc."""
import os
from dataclasses import dataclass

import lib


@dataclass(frozen=True)
class Point:
    """A point."""

    x: int = 1


def f(a, b=2):
    """Adds."""
    text = "a" "b" + f"{a} and {b!r}"
    return a + b * len(text)  # a sum


@lib.tool
def g():
    """A prompt."""


class Model(lib.Base):
    """A description."""
'''
COSMETIC = [
    ('"""Doc."""', ""),
    ('"""Doc."""', "# a comment\n'''Another doc.'''"),
    ('    """A point."""', "    # no doc"),
    ('    """Adds."""\n', ""),
    ('"a" "b"', '"ab"'),
    ('"a" "b"', "'a' \\\n        'b'"),
    ("return a + b * len(text)  # a sum", "return (a + (b * (len(text))))  # noqa: F401  # type: ignore"),
    ("import os", "import os  # type: ignore"),
    ("def f(a, b=2):", "def f(\n    a,\n    b = 2,\n):"),
    ("    x: int = 1", "    x: int = 0x1"),
    ("\n", "\r\n"),
]
EFFECTIVE = [
    ("b=2", "b=3"),
    ("b=2", "b=2.0"),
    ("b=2", "b=True"),
    ("a + b", "a - b"),
    ("a + b * len(text)", "(a + b) * len(text)"),
    ("{b!r}", "{b}"),
    ("{a} and", "{a = } and"),
    ('"a" "b"', '"a" " b"'),
    ("frozen=True", "frozen=False"),
    ("import os", ""),
    ('"""A prompt."""', '"""Another prompt."""'),
    ('"""A description."""', '"""Another."""'),
    ("    x: int = 1", '    x: int = 1\n    "an attribute\'s text"'),
    ("return a", "  return a"),
]


@pytest.mark.parametrize(("old", "new"), COSMETIC)
def test_the_same_program(old: str, new: str) -> None:
    """Comments, docstrings of Python's own kinds, quotes, parentheses, continuations and line ends change nothing."""
    assert is_same_program(BASE.encode(), BASE.replace(old, new).encode())


@pytest.mark.parametrize(("old", "new"), EFFECTIVE)
def test_another_program(old: str, new: str) -> None:
    """Constants, names, order, texts, debugging f-strings, and docstrings that a library may read count."""
    assert not is_same_program(BASE.encode(), BASE.replace(old, new).encode())


def test_docstrings_and_type_comments_that_are_read() -> None:
    """On request docstrings and `# type:` comments are compared."""
    assert not is_same_program(BASE.encode(), BASE.replace("Adds.", "Sums.").encode(), docstrings=True)
    assert is_same_program(b"x = []\n", b"x = []  # type: list[int]\n")
    assert not is_same_program(b"x = []\n", b"x = []  # type: list[int]\n", type_comments=True)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# a\n", "# b\n", True),  # no statement at all
        ("'Doc.'\n", "", True),
        ("def f():\n    'Doc.'\n", "def f():\n    pass\n", True),
        ("class A:\n    'Doc.'\n", "class A:\n    pass\n", True),
        ("if x:\n    def f():\n        'a'\n", "if x:\n    def f():\n        'b'\n", True),
        ("class A(Generic[T]):\n    'a'\n", "class A(Generic[T]):\n    'b'\n", True),
        ("@functools.cache\ndef f():\n    'a'\n", "@functools.cache\ndef f():\n    'b'\n", True),
        ("class A(metaclass=M):\n    'a'\n", "class A(metaclass=M):\n    'b'\n", False),
        ("@(lambda f: f)\ndef f():\n    'a'\n", "@(lambda f: f)\ndef f():\n    'b'\n", False),
        ("x = 1\n", "x = 1\n#" + "a" * 2_100_000, False),  # one of the two is too long
        ("#!/usr/bin/python3.11\nx = 1\n", "#!/usr/bin/python3.12 -O\nx = 1\n", False),
        ("# /// script\n# dependencies = ['a==1']\n# ///\nx = 1\n", "# a script\nx = 1\n", False),
        ("# /// script\n#\n# x = 1\n# ///\nx = 1\n", "# /// script\n#\n# x = 2\n# ///\nx = 1\n", False),
        ("# a\n# /// script\n# x = 1\n# ///\nx = 1\n", "# b\n# /// script\n# x = 1\n# ///\nx = 1\n", True),
    ],
)
def test_docstrings_of_all_places(old: str, new: str, same: bool) -> None:
    """A docstring counts where a decorator, a keyword or a base class of elsewhere may read it, and nowhere else."""
    assert is_same_program(old.encode(), new.encode()) is same
    assert is_same_program(new.encode(), old.encode()) is same


def test_files_that_python_does_not_read() -> None:
    """What is no Python, nested too deep or too long is never the same, unless it is equal byte for byte."""
    for content in (b"def (", b"\xff", b"\0", b"-" * 200_000 + b"1", b"x = 1\n" * 400_000):
        assert not is_same_program(content, content + b"# comment")
        assert is_same_program(content, content)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("print(__doc__)", {"own_docstrings"}),
        ("def main():\n    '''Doc.'''\nprint(main.__doc__)", {"own_docstrings"}),
        ("import other\nprint(other.__doc__)", {"docstrings"}),
        ("from inspect import getdoc", {"docstrings"}),
        ("import fire", {"docstrings"}),
        ("from inspect import getsource", {"source"}),
        ("import linecache", {"source"}),
        ("open(__file__).read()", {"source"}),
        ("from pathlib import Path\nPath(__file__).resolve().read_text()", {"source"}),
        ("from pathlib import Path\nPath(__file__).parent.joinpath('a.html').read_text()", set()),
        ("from os.path import abspath, dirname\nimport a\nprint(dirname(abspath(__file__)), a.__file__.name)", set()),
        ("import shutil\nshutil.copy(__file__, 'results')", {"source"}),
        ("from pathlib import Path\nHERE = Path(__file__)\nHERE.read_text()", {"source"}),
        ("import a\nopen(a.__file__)", {"source"}),
        ("for module in modules:\n    print(module.__file__)", set()),  # not said to be one of the project's
        ("import ply.lex as lex\ndef t_NUMBER(t):\n    r'[0-9]+'", {"docstrings"}),
        ("from google import genai", {"docstrings"}),
        ("import glob\nglob.glob('src/*.py')", {"folders"}),
        ("import glob\nglob.glob('**/*.py')", {"source"}),
        ("from pathlib import Path\nF = 'a'\nPath(F).rglob('*.py')", {"folders"}),
        ("def f(p):\n    return p.suffix == '.py'", {"source"}),
        ("open('a/b.py')", {"names"}),
        ("import os\nprint(os.listdir('src'), os.listdir(x))", {"folders"}),
        ("from pathlib import Path\nlist(Path('src').iterdir())", {"folders"}),
        ("from pathlib import Path\nfrom a import F\nPath(F).rglob('*.py')", {"folder_names"}),
        ("def f(folder):\n    return folder.glob('*.py'), folder.glob('*.png')", {"source"}),
        ("import shutil\nshutil.make_archive('code', 'zip', 'src')", {"source"}),
        ("import sys\nopen(sys.argv[0])", {"source"}),
        ("open(f'src/{name}.py')", {"source"}),
        ("open(name + '.py')", {"source"}),
        ("open('src/%s.py' % name)", {"source", "names"}),
        ("import os\nos.system('wc -l src/*.py')", {"source", "folders"}),
        ("import subprocess\nsubprocess.run(['grep', '-r', '#', 'src'])", {"folders"}),
        ("log_model(code_paths=paths)", {"source"}),
        ("log_model(**{'code_paths': paths})", {"source"}),
        ("import tarfile\ntar.add('.')", {"folders"}),
        ("seen.add('.'), seen.add('/')", set()),
        ("import tarfile\nseen.add('/')", set()),
        ("pack(source_dir='.', sep='.')", {"folders"}),
        ("import os\nupload(os.getcwd()), os.listdir()", {"folders"}),
        ("from pathlib import Path\nHERE = Path(__file__).parent\nupload(HERE)", {"source"}),
        ("from pathlib import Path\nHERE = Path(__file__).parent\nlist(HERE.iterdir())", {"source"}),
        ("x['src']\ny == 'src'\n'src'", set()),
        ("import torch", {"type_comments"}),
        ("def (", {"source"}),
        ("x = 1", set()),
    ],
)
def test_readers_of_source_are_recognised(code: str, found: set[str]) -> None:
    """Code that reads docstrings, source or Python files is told from code that does not."""
    readers = readers_in(code.encode())
    kinds = {"source", "docstrings", "own_docstrings", "type_comments", "names", "folders", "folder_names"}
    assert {kind for kind in kinds if getattr(readers, kind)} == found
