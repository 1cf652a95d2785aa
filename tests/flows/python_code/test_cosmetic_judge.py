"""A change of comments is one of comments only if neither a command nor the code of a stage may read the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.python_code.cosmetic import CosmeticJudge
from flows.python_code.imports import ImportFinder
from flows.python_code.stage_code import StageCode
from tests.support.root import ROOT

TRAIN = "import lib.nets\n"
OLD = 'def width(n):\n    """Returns the width."""\n    return n * 8  # wide enough\n'
NEW = 'def width(n):\n    """Returns it."""\n    return n * 8\n'
FILES = {"src/train.py": TRAIN, "src/lib/__init__.py": "", "src/lib/nets.py": NEW, "src/other.py": "", "tools/a.py": ""}

IsCosmetic = Callable[..., bool]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small project."""
    folder = tmp_path_factory.mktemp("judge").resolve()
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def is_cosmetic(root: Path) -> IsCosmetic:
    """Judges the change of src/lib/nets.py for a command and for code that is added to src/train.py."""

    def judge(line: str = "python src/train.py", code: str = "") -> bool:
        (root / "src/train.py").write_text(TRAIN + code)
        stage = StageCode("a", "dvc.yaml", "a", root, (line,), ("src/train.py", "src/lib"), {})
        verdict = CosmeticJudge(root, ImportFinder(root, list(FILES))).judge(stage)
        return not isinstance(verdict, str) and verdict("src/lib/nets.py", OLD.encode(), NEW.encode())

    return judge


@pytest.mark.parametrize(
    "line",
    [
        "python src/train.py",
        "python src/train.py --color '#1f77b4' # && cat src/lib/nets.py",
        "python src/train.py --price '$5' \"\\$5\" \\$5 '`x`' data/*.csv data/{a,b}.csv layers=[64,32] HEAD~1 ~/data",
        "PYTHONPATH=$PWD/src:src SEED=1 python src/train.py",
        '"${PYTHON:-python3}" src/train.py && echo "done: #1"',
        "export PYTHONPATH=src OMP_NUM_THREADS=1 && python src/train.py",
        'PYTHONPATH=src python -c "import lib.nets; print(lib.nets.width(2))"',
        "cd src && python train.py > ../log",
        "python src/train.py '{\"a\":1,\"b\":2}' '{nets,b}.csv' / --base=/",
        "python src/train.py '[" + ",".join(['{"a":1,"b":2}'] * 40) + "]'",
        'python src/train.py "' + r"{\"a\":1,\"b\":2}" * 40 + '"',
        "python src/train.py " + "data{1,2}" * 40,
    ],
)
def test_commands_that_read_no_code(is_cosmetic: IsCosmetic, line: str) -> None:
    """Quoted characters, other files and variables of the machine make no file an input as text."""
    assert is_cosmetic(line)


@pytest.mark.parametrize(
    "line",
    [
        "python src/train.py --color '#1f77b4' && cat src/lib/nets.py > copy",
        'python src/train.py --color "#1f77b4" && cat src/lib/nets.py > copy',
        "python src/train.py \\# && cat src/lib/nets.py > copy",
        'python src/train.py --hash "$(sha256sum src/lib/nets.py)"',
        "python src/train.py --hash $(sha256sum src/lib/nets.py)",
        "python src/train.py --hash `md5sum src/lib/nets.py`",
        'HASH="$(sha256sum src/lib/nets.py)" python src/train.py',
        'python src/train.py "$FILE"',
        "FILE=src/lib/nets.py python src/train.py",
        "export FILE=src/lib/nets.py && python src/train.py",
        "test src/lib/nets.py -nt out; python src/train.py",
        "python src/train.py src/lib/*.py",
        "python src/train.py s*",
        "python src/train.py --files='src/l?b/[a-z]*.py'",
        "python src/train.py src/{lib,data}/nets.py",
        "python src/train.py src/{lib,data}",
        "python src/train.py --files=x,src/lib/nets.py",
        "python src/train.py -fsrc/lib/nets.py",
        'python src/train.py \'{"folder": "src/lib"}\'',
        "cd tools && python ../src/train.py ../src/*/nets.py",
        "python src/train.py {s,x}rc{/lib,}",
        "python src/train.py " + "{,}" * 40 + "src/lib",
        'PYTHONPATH=src python -c "import lib.nets as n; print(n.width.__doc__)"',
        'PYTHONPATH=src python -c "import inspect, lib.nets as n; print(inspect.getsource(n))"',
        "PYTHONPATH=src python -c \"import lib.nets; print(open('src/lib/nets.py').read())\"",
        "PYTHONPATH=src python -c \"import lib.nets; print('$(cat src/lib/nets.py)')\"",
    ],
)
def test_commands_that_may_read_code(is_cosmetic: IsCosmetic, line: str) -> None:
    """What the shell puts into a command, patterns, variables and the text of `python -c` count."""
    assert not is_cosmetic(line)


@pytest.mark.parametrize(
    "code",
    [
        "plot(x, marker='.', sep='.')\nprint('a.b'.split('.'), '/', '', '..')",
        "print(options['src'], options['lib'])\nif part == 'src' or part in ('src', 'lib'):\n    pass",
        "def f():\n    'src'\n",
        "from pathlib import Path\nprint(list(Path('data').iterdir()), Path('.') / 'out', open('data/src.csv'))",
        "from pathlib import Path\nprint((Path(__file__).parent / 'page.html').read_text())",
        "from pathlib import Path\nHERE = Path(__file__).parent\nprint(HERE.glob('*.html'), (HERE / 'a').iterdir())",
        "from pathlib import Path\nHERE = Path(__file__).parent\nprint(HERE / 'page.html', 'lib')",
        "import os\nprint(os.getcwd(), os.listdir('data'))",
        "import glob\nprint(glob.glob('*.csv'), glob.glob('data/*'))",
        "def f(folder):\n    return folder.glob('.*-*.tmp*'), folder.rglob('*'), folder.glob('data/*')",
        "log_model(path='models', root=folder)",
        "from pathlib import Path\nROOT = Path(__file__).parent\nlog_model(root=ROOT, path=ROOT, source='.')",
        "seen.add('/')\nseen.add('.')\nroutes = {'path': '/', 'code': '/'}\nimport os\nos.listdir('/')",
        "import subprocess\nsubprocess.run(['df', '/'])",
        "torch_save({'src': m, 'lib': 1})\nprint(c.get('src'), c.pop('lib', None), c.setdefault('src', 1))",
        "print('.py', name.replace('.py', ''))",
        "from pathlib import Path\nROOT = Path('..')\nprint((ROOT / 'data').rglob('*'), ROOT.glob('*.csv'))",
        "import os\nROOT = os.path.join(os.path.dirname(__file__), '..')\nprint(os.path.join(ROOT, 'page.html'))",
    ],
)
def test_code_that_reads_no_code(is_cosmetic: IsCosmetic, code: str) -> None:
    """Ordinary code stays as it is: points, keys, comparisons, docstrings, other folders, files beside a module."""
    assert is_cosmetic(code=code)


@pytest.mark.parametrize(
    "code",
    [
        "mlflow.pyfunc.log_model(model, code_paths=['x'])",
        "log_model(model, **{'code_paths': ['x']})",
        "import tarfile\ntarfile.open('a.tar', 'w').add('src')",
        "import tarfile\narchive.add('.')",
        "def pack():\n    archive.add('./')\nfrom tarfile import open",
        "import os, tarfile\narchive.add(os.getcwd())",
        "import pathlib, tarfile\narchive.add(pathlib.Path())",
        "import tarfile\nfrom pathlib import Path\narchive.add(Path(__file__).parent)",
        "import tarfile\nfrom pathlib import Path\nHERE = Path(__file__).parent\narchive.add(HERE / '..')",
        "mlflow.log_artifacts('..')",
        "from pathlib import Path\narchive.add(Path(__file__).parent / 'lib')",
        "from pathlib import Path\nLIB = 'lib'\nHERE = Path(__file__).parent\nuse(HERE.joinpath(LIB))",
        "import os\nuse(os.path.join(os.path.dirname(__file__), 'lib'))",
        "import os\nuse(f'{os.path.dirname(__file__)}/lib')",
        "from pathlib import Path\narchive.add(Path(__file__).resolve().parents[1] / 'src' / 'lib')",
        "ray.init(runtime_env={'working_dir': 'src'})",
        "ray.init(runtime_env={'working_dir': '.'})",
        "Estimator(source_dir='./src/')",
        "import os\nuse(os.path.join(root, 'src', 'lib'))",
        "use(f'{root}/src')\n",
        "use(f'src/{name}')\n",
        "use('../project/src/lib')",
        "PATTERNS = ['src/**']",
        "import subprocess\nsubprocess.run(['rsync', '--files=src', 'out'])",
        "from pathlib import Path\nHERE = Path(__file__).parent\nprint([f.read_bytes() for f in HERE.rglob('*')])",
        "from pathlib import Path\nprint([f.read_bytes() for f in Path.cwd().rglob('*')])",
        "import glob\nprint(glob.glob('**/*', recursive=True))",
        "import os\nprint(os.listdir())",
        "import os\nROOT = os.path.join(os.path.dirname(__file__), '..')\nprint(*os.walk(ROOT))",
        "import os\nROOT = os.path.dirname(__file__)\nprint(*os.walk(f'{ROOT}/..'))",
        "from pathlib import Path\nHERE = Path(__file__).parent\nprint(*(HERE / '..').rglob('*'))",
        "from pathlib import Path\nHERE = Path(__file__).parent\nROOT: Path = HERE.parent\nprint(*ROOT.rglob('*'))",
        "from pathlib import Path\ndef f():\n    root = Path(__file__).parent\n    return [*root.rglob('*')]",
        "from pathlib import Path\nprint(*Path('.').resolve().rglob('*'))",
        "from pathlib import Path\nROOT = Path('.')\nprint(*ROOT.rglob('*'))",
        "import os\nprint(*os.walk(os.path.abspath('.')))",
        "import os\nROOT = os.path.abspath(os.pardir)\nprint(*os.walk(ROOT))",
        "mlflow.log_artifact('./nets.py')",
        "print(open('../lib/nets.py').read())",
        "copy({'src/lib': 'out'})",
        "print(repository.get('src/lib'))",
    ],
)
def test_code_that_may_read_code(is_cosmetic: IsCosmetic, code: str) -> None:
    """A folder that code names, packs or lists as a whole counts, however its path is put together."""
    assert not is_cosmetic(code=code)


def test_paths_are_relative_to_where_the_program_starts(is_cosmetic: IsCosmetic) -> None:
    """After `cd`, a folder that the code lists is one of the new working directory."""
    assert not is_cosmetic("cd src && python train.py", "import os\nprint(os.listdir('lib'))")
    assert is_cosmetic("python src/train.py", "import os\nprint(os.listdir('lib/x'))")


def test_an_absolute_path_of_the_project(is_cosmetic: IsCosmetic, root: Path) -> None:
    """The project's own folder by its full name is the whole project; a folder above or beside it is not."""
    assert is_cosmetic(code=f"use({str(root.parent)!r}, {str(root / 'data')!r}, '/')")
    assert not is_cosmetic(code=f"use({str(root)!r})")


@pytest.mark.parametrize("stage", ["download", "prepare", "train", "evaluate", "report"])
def test_a_comment_in_code_of_this_project_runs_no_stage(stage: str) -> None:
    """No module of a stage reads code in a way that would make every comment count."""
    command = f"python -m stages.{stage} --out out"
    verdict = CosmeticJudge(ROOT).judge(StageCode(stage, "dvc.yaml", stage, ROOT, (command,), (f"stages/{stage}",), {}))
    content = (ROOT / "stages/base/errors.py").read_bytes()
    assert not isinstance(verdict, str), verdict
    assert verdict("stages/base/errors.py", content, content + b"# a comment\n")
