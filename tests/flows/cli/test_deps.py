"""`inkflow deps` tells and writes the code that stages depend on."""

import json
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from flows.cli.main import main
from stages.base.errors import InvalidInput
from tests.conftest import Toy

PYTHON = {
    "src/train.py": "from lib import nets, losses\n",
    "src/lib/__init__.py": "",
    "src/lib/nets.py": "import lib.losses\n",
    "src/lib/losses.py": "A = 1\n",
    "src/other.py": "B = 1\n",
    "src/report.py": "import other\n",
    ".dvcignore": "__pycache__\n",
}
GRAPH = """\
# The graph.
stages:
  train: # trains
    cmd: python src/train.py data.csv
    deps:
      - data.csv # the data
    outs: [model]

  report:
    cmd: python src/report.py model
    deps: [src/report.py, src/lib, model]  # in one line
    outs: [report.txt]
  shell:
    cmd: cat report.txt > copy
    deps: [report.txt]
    outs: [copy]
"""


@pytest.fixture
def project(toy: Toy) -> Toy:
    """A project whose stages declare too little and too much."""
    toy.write(PYTHON | {"dvc.yaml": GRAPH, "data.csv": "1\n"})
    return toy


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Returns the exit code of `inkflow deps --json`, and its stages by name."""
    code = main(["deps", "--json", *arguments])
    return code, {row["stage"]: row for row in json.loads(capsys.readouterr().out)["stages"]}


def test_check_names_missing_and_needless_code(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` fails and names what is missing and needless; data and shell commands are left alone."""
    code, stages = report(capsys, "--check")
    assert code == 1
    assert stages["train"]["missing"] == ["src/lib/losses.py", "src/lib/nets.py", "src/train.py"]
    assert stages["train"]["needless"] == []
    assert stages["report"]["missing"] == ["src/other.py"]
    assert stages["report"]["needless"] == ["src/lib"]
    assert stages["shell"]["not_looked_at"] == ["cat report.txt > copy".replace(" > ", " ")]
    assert main(["deps"]) == 0
    assert "report: missing: src/other.py; needless: src/lib" in capsys.readouterr().out
    project.write({"src/train.py": "open(__file__)\n"})
    _, stages = report(capsys, "train")
    assert stages["train"]["comments_count"] == "src/train.py may read source as text"


def test_what_a_program_may_read_is_not_needless(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with other files than code, and code that the program names in a text, stay among its inputs."""
    code = "import other, subprocess\nsubprocess.run(['python', 'src/worker.py'])\nopen('templates/page.py')\n"
    files = {
        "conf/__init__.py": "",
        "conf/a.yaml": "a: 1\n",
        "src/worker.py": "",
        "templates/page.py": "",
        "idle.py": "",
    }
    dependencies = "[src/report.py, src/other.py, conf, src/worker.py, templates, idle.py, model]  #"
    project.write(
        files | {"src/report.py": code, "dvc.yaml": GRAPH.replace("[src/report.py, src/lib, model]", dependencies)}
    )
    assert report(capsys, "report")[1]["report"]["needless"] == ["idle.py"]


def test_a_command_of_several_lines(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A shell line that goes on behind a backslash is one command."""
    graph = GRAPH.replace("cmd: python src/train.py data.csv", "cmd: |\n      python src/train.py \\\n        data.csv")
    project.write({"dvc.yaml": graph})
    assert report(capsys, "train")[1]["train"]["missing"] == ["src/lib/losses.py", "src/lib/nets.py", "src/train.py"]


def test_write_edits_the_lists_and_nothing_else(project: Toy) -> None:
    """`--write` adds files, and folders all of whose files are needed; a second one changes nothing."""
    assert main(["deps", "--write"]) == 0
    expected = GRAPH.replace("      - data.csv", "      - src/lib\n      - src/train.py\n      - data.csv").replace(
        "[src/report.py, src/lib, model]", "[src/report.py, src/other.py, model]"
    )
    assert project.read("dvc.yaml") == expected
    assert main(["deps", "--check"]) == 0
    assert main(["deps", "--write"]) == 0
    assert project.read("dvc.yaml") == expected


def test_no_folder_that_python_or_a_stage_writes_into(project: Toy) -> None:
    """Without an ignore rule for Python's caches, and where outputs lie, files are declared one by one."""
    project.write({".dvcignore": ""})
    assert main(["deps", "--write", "train"]) == 0
    assert "      - src/lib/losses.py\n      - src/lib/nets.py\n      - src/train.py\n" in project.read("dvc.yaml")
    project.write({"dvc.yaml": GRAPH.replace("[model]", "[src/lib/model]"), ".dvcignore": "__pycache__\n"})
    assert main(["deps", "--write", "train"]) == 0
    assert "      - src/lib/losses.py\n      - src/lib/nets.py\n      - src/train.py\n" in project.read("dvc.yaml")


def test_templates_get_expressions(project: Toy) -> None:
    """A file of each item becomes an expression; a folder of the items' files would rerun all of them."""
    text = """\
stages:
  fit:
    foreach: [one, two]
    do:
      cmd: python src/fit_${item}.py
      outs: ["${item}.bin"]
  grid:
    matrix: {size: [s, l], kind: [a]}
    cmd: python src/grid_${item.size}.py ${item.kind}
    outs: ["${key}.out"]
  plan:
    foreach: {a: {speed: 1}, b: {speed: 2}}
    do: {cmd: "python src/plan.py ${item.speed}", deps: ["src/${key}.txt"], outs: ["plan-${key}"]}
"""
    names = {f"src/{name}.py": "import shared\n" for name in ("fit_one", "fit_two", "grid_s", "grid_l", "plan")}
    project.write({"dvc.yaml": text, "src/shared.py": "C = 1\n", "src/a.txt": "", "src/b.txt": ""} | names)
    assert main(["deps", "--write"]) == 0
    written = project.read("dvc.yaml")
    assert "_${item}.py\n      deps:\n        - src/shared.py\n        - src/fit_${item}.py\n      outs:" in written
    assert "[a]}\n    deps:\n      - src/shared.py\n      - src/grid_${item.size}.py\n    cmd:" in written
    assert 'deps: ["src/${key}.txt", src/plan.py, src/shared.py]' in written
    assert main(["deps", "--check"]) == 0


def test_what_one_stage_of_a_template_needs_is_needless_for_none(
    project: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` passes after `--write`; an entry is needless if no stage of the template needs it, and is removed then.

    The same holds if the command names one stage alone.
    """
    text = """\
stages:
  fit:
    foreach: [linear, tree]
    do:
      cmd: python src/fit_${item}.py
      deps:
        - conf_${item}.py
        - same_${item}.py # inkflow: keep
        - idle_${item}.py
      outs: ["${item}.bin"]
"""
    files = {f"{name}_{item}.py": "" for name in ("conf", "same", "idle") for item in ("linear", "tree")}
    files |= {"src/fit_linear.py": "import lin_utils\n", "src/fit_tree.py": "import tr_utils\nopen('conf_tree.py')\n"}
    files |= {"src/lin_utils.py": "A = 1\n", "src/tr_utils.py": "B = 1\n"}
    project.write(files | {"dvc.yaml": text})
    _, stages = report(capsys, "fit@linear")
    assert [stages[name]["needless"] for name in stages] == [["idle_linear.py"]]
    assert main(["deps", "--write", "fit@linear"]) == 0
    assert capsys.readouterr().out.endswith(", + src/tr_utils.py, - idle_${item}.py\n1 entry changed\n")
    needed = "".join(f"        - src/{name}.py\n" for name in ("fit_linear", "fit_tree", "lin_utils", "tr_utils"))
    written = project.read("dvc.yaml")
    assert written == text.replace("        - idle_${item}.py\n", needed)
    assert main(["deps", "--check"]) == 0
    assert main(["deps", "--write"]) == 0
    assert project.read("dvc.yaml") == written


def test_entries_are_compared_as_paths(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries with a slash at the end, a point before them or an expression are removed or kept like others."""
    start = "vars: [{code: src}]\nstages:\n  a:\n    cmd: python src/other.py\n    deps:\n      - src/other.py\n"
    entries = "      - src/lib/\n      - ./src/train.py\n      - ${code}/report.py\n      - data.csv\n"
    project.write({"dvc.yaml": start + entries})
    code, stages = report(capsys, "--check")
    assert (code, stages["a"]["needless"]) == (1, ["src/lib", "src/train.py", "src/report.py"])
    marked = entries.replace("\n", "  # inkflow: keep\n")
    project.write({"dvc.yaml": start + marked})
    assert main(["deps", "--check"]) == 0
    project.write({"dvc.yaml": start + entries})
    assert main(["deps", "--write"]) == 0
    assert project.read("dvc.yaml") == start + "      - data.csv\n"
    assert main(["deps", "--check"]) == 0
    assert capsys.readouterr().out.endswith("1 entry changed\na: 1 file; ok\n")


def test_entries_that_stand_elsewhere(project: Toy) -> None:
    """An entry behind an alias is named with its list and is not removed."""
    text = (
        "vars: [{x: &old src/lib}]\nstages:\n  a: {cmd: python src/other.py, deps: [src/other.py, *old], outs: [a]}\n"
    )
    project.write({"dvc.yaml": text})
    with pytest.raises(InvalidInput, match=r"stages.a.deps has no entry 'src/lib' of its own; edit it by hand"):
        main(["deps", "--write"])
    assert project.read("dvc.yaml") == text


@pytest.mark.parametrize(
    "command",
    [
        "python src/other.py --color '#1f77b4' && python src/train.py",
        "python src/other.py src/[kl]ib/*.py",
        "python src/other.py src/{lib,data}",
        'python src/other.py "$(cat src/lib/nets.py)"',
        "DATA=src/lib python src/other.py",
        "python src/other.py --files=a,src/lib/nets.py,src/lib/losses.py",
        "python src/other.py && python -c 'print(open(\"src/lib/nets.py\").read())'",
        "python src/other.py && python -c 'archive.add(\"src/lib\")'",
    ],
)
def test_what_a_command_may_read_is_not_needless(
    project: Toy, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Code behind a `#` in quotes, patterns, what the shell computes, variables and the text of `python -c` count."""
    deps = "[src/other.py, src/train.py, src/lib]"
    project.write({"dvc.yaml": f"stages:\n  a:\n    cmd: {json.dumps(command)}\n    deps: {deps}\n"})
    found = report(capsys)[1]["a"]
    assert ("src/lib" in found["needless"], found["missing"]) == (False, [])


def test_files_in_other_folders_and_wdir(project: Toy) -> None:
    """Paths are relative to the working directory of a stage, also of a dvc.yaml in a subfolder."""
    project.write(
        {
            "sub/dvc.yaml": "stages:\n  s:\n    wdir: in\n    outs: [x]\n"
            "    cmd: [python ../src/report.py, PYTHONPATH=../../src python a.py]\n",
            "sub/in/a.py": "import lib.losses\n",
            "dvc.yaml": "stages: {}\n",
            "sub/src/report.py": "D = 1\n",
        }
    )
    with pytest.raises(InvalidInput, match="unknown stage"):
        main(["deps", "--write", "nothing"])
    assert main(["deps", "--write"]) == 0
    with Repo() as repo:
        (stage,) = repo.index.stages
        assert sorted(dep.def_path for dep in stage.deps) == ["../../src/lib/losses.py", "../src/report.py", "a.py"]


def test_what_must_not_be_edited(project: Toy) -> None:
    """Lists behind anchors and templates of whole lists are refused in a sentence; a marked entry stays."""
    shared = (
        "stages:\n  a: {cmd: python src/train.py, deps: &d [data.csv], outs: [a]}\n  b: {cmd: b, deps: *d, outs: [b]}\n"
    )
    project.write({"dvc.yaml": shared})
    with pytest.raises(InvalidInput, match=r"stages.a.deps is shared through an anchor.*nothing was changed"):
        main(["deps", "--write"])
    assert project.read("dvc.yaml") == shared
    whole = "vars: [{code: [data.csv]}]\nstages:\n  a: {cmd: python src/train.py, deps: '${code}', outs: [a]}\n"
    project.write({"dvc.yaml": whole})
    with pytest.raises(InvalidInput):
        main(["deps", "--write"])
    assert project.read("dvc.yaml") == whole
    entries = "      - src/other.py\n      - src/lib # inkflow: keep\n"
    kept = f"stages:\n  a:\n    cmd: python src/other.py\n    deps:\n{entries}"
    project.write({"dvc.yaml": kept})
    assert main(["deps", "--check"]) == 0


def test_ends_of_lines_and_a_new_list_stay(project: Toy) -> None:
    """A file with the line ends of Windows keeps them, and a last line without an end is a line."""
    project.write({"dvc.yaml": ""})
    Path("dvc.yaml").write_bytes(b"stages:\r\n  a:\r\n    cmd: python src/other.py\r\n    deps:\r\n    - data.csv")
    assert main(["deps", "--write"]) == 0
    assert Path("dvc.yaml").read_bytes() == (
        b"stages:\r\n  a:\r\n    cmd: python src/other.py\r\n    deps:\r\n    - src/other.py\r\n    - data.csv"
    )


def test_computed_imports_make_nothing_needless(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that a computed import may load is not needless, and neither is one that the command names."""
    project.write(
        {
            "dvc.yaml": "stages:\n  a: {cmd: python src/other.py, deps: [src/other.py, src/lib]}\n"
            "  b: {cmd: python src/report.py src/lib, deps: [src/report.py, src/other.py, src/lib]}\n",
            "src/other.py": "import importlib, sys\nimportlib.import_module(sys.argv[1])\n",
        }
    )
    code, stages = report(capsys, "--check")
    assert code == 0
    assert stages["b"]["comments_count"] is None
    assert stages["a"]["dynamic"] == ["src/other.py:2: importlib.import_module(sys.argv[1])"]
