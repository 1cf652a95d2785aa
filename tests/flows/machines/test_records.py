"""What `inkflow verify --against` reads from two files dvc.lock: outputs by stage, and which inputs differ."""

from typing import Any

import pytest
from dvc_data.hashfile.tree import Tree

from flows.machines.records import Records, input_differences, read_records

PLAIN = """schema: '2.0'
stages:
  one:
    cmd: python one.py
    deps:
    - path: in
      hash: md5
      md5: aa
    outs:
    - path: x
      hash: md5
      md5: bb
"""
READER = """  two:
    cmd: python two.py
    deps:
    - path: x
      md5: bb
    outs:
    - path: y
      md5: cc
"""


def records(lock: str, pipeline: str = "") -> Records:
    """Returns the records of a dvc.lock beside a dvc.yaml."""
    files = {"dvc.lock": lock.encode(), "dvc.yaml": pipeline.encode()}
    return read_records(files.get, files.get, "dvc.lock")


def differences(stage: str, here: str, there: str) -> list[tuple[str, str, Any, Any]]:
    """Returns how the inputs of a stage differ."""
    found = input_differences(stage, records(here), records(there))
    return [(item.kind, item.name, item.here, item.there) for item in found]


@pytest.mark.parametrize(
    ("wdir", "first", "second"),
    [
        ("${item}", "a/out", "b/out"),
        ("work/${ key }/x", "work/a/x/out", "work/b/x/out"),
        ("w/${item.dir}", "w/${item.dir}@a/out", "w/${item.dir}@b/out"),
    ],
)
def test_templates_of_working_folders(wdir: str, first: str, second: str) -> None:
    """Two stages of a group never share an output; where the name tells the folder, their readers are known."""
    parts = [f"  s@{key}: {{cmd: make, outs: [{{path: out, md5: {key}1}}]}}\n" for key in "ab"]
    lock = "".join(["stages:\n", *parts, "  r: {cmd: read, deps: [{path: a/out, md5: a1}]}\n"])
    group = f"{{foreach: [a, b], do: {{cmd: make, wdir: '{wdir}', outs: [out]}}}}"
    found = records(lock, f"stages:\n  s: {group}\n  r: {{cmd: read}}\n")
    assert [dict(found.stages[name].outs) for name in ("s@a", "s@b")] == [{first: "a1"}, {second: "b1"}]
    assert found.links.upstream("r") == ({"a/out": ["a/out"]} if first == "a/out" else {})


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        f"# a note\n{PLAIN}",
        PLAIN.replace("cmd: python one.py", "cmd:\n      python\n      one.py"),
        f"{PLAIN}  other:\n    cmd: &c make\n    params:\n      params.yaml:\n        also: *c\n",
    ],
)
def test_forms_of_one_record(text: str) -> None:
    """Line ends, comments, folded lines and aliases of a dvc.lock are no differences."""
    assert differences("one", PLAIN, text) == differences("one", text, PLAIN) == []


def test_command_that_differs() -> None:
    """A command that differs is shown as it is."""
    other = PLAIN.replace("one.py", "1.py")
    assert differences("one", PLAIN, other) == [("command", "command", "python one.py", "python 1.py")]
    lines = PLAIN.replace("cmd: python one.py", "cmd:\n    - python one.py")
    assert differences("one", PLAIN, lines) == [("command", "command", "python one.py", ["python one.py"])]


def test_parameters_are_all_compared() -> None:
    """A stage with thousands of parameters is compared in all of them."""
    params = "".join(f"        k{number}: 1\n" for number in range(5000))
    locks = [f"{PLAIN}    params:\n      params.yaml:\n{params}        rate: {rate}\n" for rate in (0.1, 0.2)]
    assert differences("one", *locks) == [("parameter", "rate", 0.1, 0.2)]


@pytest.mark.parametrize(
    ("here", "there"),
    [
        pytest.param(PLAIN + READER, PLAIN.replace("one:", "uno:") + READER.replace("bb", "b2"), id="renamed"),
        pytest.param(PLAIN + READER, "stages:\n" + READER.replace("bb", "b2"), id="dvc-add"),
        pytest.param(PLAIN + READER, PLAIN + READER.replace("path: x", "path: z"), id="added"),
    ],
)
def test_inputs_of_other_makers(here: str, there: str) -> None:
    """A file that a stage makes on one side alone, or that one side alone reads, is an input that differs."""
    for first, second in ((here, there), (there, here)):
        assert ("data", "x") in [found[:2] for found in differences("two", first, second)]


def test_outputs_of_the_same_stages_are_no_inputs() -> None:
    """What the same stage made on both sides is compared as its output."""
    assert differences("two", PLAIN + READER, PLAIN + READER.replace("bb", "b2")) == []


def test_equal_empty_hashes_are_not_equal_inputs() -> None:
    """A dependency without a hash is not known to be equal, on both sides either."""
    unknown, sides = PLAIN.replace("aa", "''"), ("no hash in dvc.lock", "no hash in dvc.lock")
    assert differences("one", unknown, unknown) == [("code", "in", *sides)]


def test_folders_that_are_listed_by_their_files() -> None:
    """A folder of which dvc.lock has the files, for a remote with versions, has the hash that DVC gives it."""
    files = [{"relpath": "b/c", "md5": "1" * 32, "size": 3}, {"relpath": "a", "md5": "2" * 32, "size": 4}]
    tree = Tree.from_list(files, hash_name="md5")
    tree.digest()
    lock = "stages:\n  s:\n    cmd: make\n    outs: [{{path: x, files: {}}}]\n"
    for given, expected in ((files, tree.oid), ([{"relpath": "a"}], ""), ("x", ""), ([], "")):
        assert records(lock.format(given)).stages["s"].outs == {"x": expected}


def test_removed_stages_do_not_count() -> None:
    """Entries of stages that the dvc.yaml beside it no longer has are left out; without one, those that are named."""
    lock = b"stages: {a: {cmd: make, outs: [{path: x, md5: '1'}]}, old: {cmd: make, outs: [{path: y, md5: '1'}]}}"
    alone, whole = {"dvc.lock": lock}, {"dvc.lock": lock, "dvc.yaml": b"stages: {a: {cmd: make}}"}
    assert set(read_records(whole.get, whole.get, "x").stages) == {"a"}
    assert set(read_records(alone.get, whole.get, "x").stages) == {"a", "old"}
    assert set(read_records(alone.get, whole.get, "x", {"old"}).stages) == {"a"}
