"""Results of other files than a dvc.lock has now: whose links are broken, what depends on them, what is not known."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.many_versions import ManyVersions, Point, first_point
from flows.dvc_repo.change_detection import folder_hash
from flows.dvc_repo.history import versions
from flows.dvc_repo.history.facts import read_facts
from flows.dvc_repo.history.links import Links, folder_lists

FIRST = first_point()
PIPELINE = (
    "stages:\n  {group}:\n    foreach: ${{models}}\n    do: {{cmd: make}}\n  read: {{cmd: read}}\n  end: {{cmd: end}}\n"
)
CHAIN = {
    "make@a": ({}, {"m/a": "1"}),
    "read": ({"m/a": "1"}, {"r": "2"}),
    "end": ({"r": "2"}, {"e": "3"}),
}

Files = Mapping[str, Any]


def lock(stages: Mapping[str, tuple[Files, Files]]) -> str:
    """Returns a dvc.lock; each file has a hash, or all that its entry has."""
    entries = {}
    for name, parts in stages.items():
        sides = (
            [
                {"path": path, **(item if isinstance(item, dict) else {"hash": "md5", "md5": item})}
                for path, item in part
            ]
            for part in (files.items() for files in parts)
        )
        entries[name] = {"cmd": "make", **dict(zip(("deps", "outs"), sides, strict=True))}
    return json.dumps({"stages": entries})


def outdated(
    stages: Mapping[str, tuple[Files, Files]], *, pipeline: str = "", params: str = "", lists: Files | None = None
) -> dict[str, str]:
    """Returns the stages with results of other files, and why; `lists` are the folders of which the files are known."""
    texts = {"dvc.lock": lock(stages), "dvc.yaml": pipeline, "params.yaml": params}
    files = {name: text.encode() for name, text in texts.items() if text}
    version, _ = versions.stages_of(files.get, [""])
    assert not version.problems
    return Links(version.stages).outdated((lists or {}).get)


def with_dep(name: str, path: str, item: Any) -> dict[str, tuple[Files, Files]]:
    """Returns the chain with another record of a file that a stage read."""
    return {**CHAIN, name: ({**CHAIN[name][0], path: item}, CHAIN[name][1])}


def test_stages_that_depend_on_other_files() -> None:
    """A stage that read another file is outdated, and so are those after it, with the cause; none before it is."""
    assert outdated(CHAIN) == {}
    found = outdated(with_dep("read", "m/a", "old"))
    reason = "read another m/a than dvc.lock has now"
    assert found == {"read": reason, "end": f"depends on read, which {reason}"}
    assert set(outdated(with_dep("end", "r", "old"))) == {"end"}


@pytest.mark.parametrize("item", [{"md5": "old"}, {"etag": "old"}, {}, {"hash": "md5", "md5": ""}])
def test_hashes_that_cannot_be_compared(item: dict[str, str]) -> None:
    """Hashes of another form, as DVC 2 recorded text files, and files without a hash, are not known to differ."""
    assert outdated(with_dep("read", "m/a", item)) == {}


def test_stages_without_files() -> None:
    """Stages without dependencies or outputs, and an empty dvc.lock, have no broken links."""
    assert outdated({"a": ({}, {}), "b": ({"code.py": "1"}, {})}) == {} == outdated({})


def test_stages_in_a_circle() -> None:
    """Stages that a damaged dvc.lock names in a circle are all outdated if one of their links is broken."""
    circle = {"a": ({"y": "1"}, {"x": "1"}), "b": ({"x": "old"}, {"y": "1"})}
    assert set(outdated(circle)) == {"a", "b"}


def test_a_folder_of_outputs() -> None:
    """A folder is compared if the outputs in it are all of its files, those of folders with a known list too."""
    seeds = folder_hash({"1/model": "6"})
    makers: dict[str, tuple[Files, Files]] = {
        "make@a": ({}, {"m/a/model": "1", "m/a/seeds": seeds, "m/a/none": folder_hash({})})
    }
    now = folder_hash({"a/model": "1", "a/seeds/1/model": "6"})

    def read(md5: str, nfiles: int, lists: Files) -> set[str]:
        return set(
            outdated({**makers, "read": ({"m": {"hash": "md5", "md5": md5, "nfiles": nfiles}}, {})}, lists=lists)
        )

    lists = {seeds: {"1/model": "6"}}
    assert read(now, 2, lists) == set() and read("0.dir", 2, lists) == {"read"}
    assert read("0.dir", 3, lists) == set()  # it has a further file, and with it another hash
    assert read("0.dir", 2, {}) == set()  # nothing is known of m/a/seeds


@pytest.mark.parametrize(("md5", "path"), [("1", "d/a"), (folder_hash({"c": "2"}), "d/b")])
def test_files_in_an_output(md5: str, path: str) -> None:
    """A file or folder in an output is compared with the list of its files, where it is known."""
    whole = folder_hash({"a": "1", "b/c": "2"})
    lists = {whole: {"a": "1", "b/c": "2"}}
    for recorded, expected in ((md5, set()), ("old", {"read"})):
        stages = {"make": ({}, {"d": whole}), "read": ({path: recorded}, {})}
        assert set(outdated(stages, lists=lists)) == expected and outdated(stages) == {}


@pytest.mark.parametrize(
    ("params", "pipeline", "counts"),
    [
        ("models: {a: {}}", PIPELINE.format(group="make"), True),
        ("models: [a]", PIPELINE.format(group="make"), True),
        ("models: {b: {}}", PIPELINE.format(group="make"), False),
        ("models: {a: {}}", PIPELINE.format(group="other"), False),
        ("models: {b: {}}", f"vars: [x.yaml]\n{PIPELINE.format(group='make')}", True),
        ("", PIPELINE.format(group="make"), True),
        ("", PIPELINE.format(group="make").replace("${models}", "[b, c]"), False),
        ("", PIPELINE.format(group="make").replace("${models}", "['${x}']"), True),
        ("", PIPELINE.format(group="make").replace("foreach: ${models}", "matrix: {m: [b]}"), True),
        ("", "", True),
    ],
)
def test_removed_stages_do_not_count(params: str, pipeline: str, counts: bool) -> None:
    """dvc.lock keeps the entries of removed stages: with their old links, they make no other stage outdated."""
    stages = {"data": ({}, {"d": "new"}), **CHAIN, "make@a": ({"d": "old"}, {"m/a": "1"})}
    pipeline = pipeline and f"{pipeline}  data: {{cmd: data}}\n"
    assert ("end" in outdated(stages, pipeline=pipeline, params=params)) is counts


def test_an_output_of_a_removed_stage_too() -> None:
    """Where two entries have the same output, since one stage was renamed, a reader of either is not outdated."""
    stages = {"new": ({}, {"x": "2"}), "old": ({}, {"x": "1"}), "read": ({"x": "2"}, {})}
    assert outdated(stages) == {} and set(outdated({**stages, "read": ({"x": "0"}, {})})) == {"read"}


def test_lists_of_folders_in_the_cache(tmp_path: Path) -> None:
    """Lists are read from DVC's cache; one that is missing or damaged tells nothing."""
    (tmp_path / "a").write_text('[{"md5": "1", "relpath": "x"}]')
    (tmp_path / "b").write_text('[{"md5"')
    (tmp_path / "c").write_text('["x"]')
    listed = folder_lists(lambda name: tmp_path / name if name != "none" else None)
    assert [listed(name) for name in ("a", "b", "c", "d", "none")] == [{"x": "1"}, None, None, None, None]


def test_scores_of_other_weights_are_left_out(tmp_path: Path) -> None:
    """A trial that trained a model alone has its validation scores, but no test scores and gates of the old one."""
    project = ManyVersions(tmp_path, samples=50)
    summary: dict[str, bytes | None] = {"reports/metrics.json": json.dumps({"best": "dense"}).encode()}
    one = project.commit(Point(FIRST.models, extra=summary), "first")
    changed = FIRST.with_model("cnn", epochs=9)
    old, new = (project._files(point)["dvc.lock"].decode() for point in (FIRST, changed))
    made = re.search(r"  train@cnn:\n(    .*\n)+", new)
    text = re.sub(r"  train@cnn:\n(    .*\n)+", made[0] if made else "", old).encode()
    kept = project._files(FIRST)["evaluation/cnn/metrics.json"]
    project.commit(
        Point(changed.models, extra={**summary, "dvc.lock": text, "evaluation/cnn/metrics.json": kept}),
        "trial",
        parents=(one,),
    )
    project.finish()
    first, trial = read_facts(tmp_path)["versions"]
    assert "test" in first["models"]["cnn"] and first["gates"] and first["models"]["cnn"]["predictions"]
    assert set(trial["models"]["cnn"]) == {"validation", "history"} and trial["gates"] is None
    assert trial["models"]["cnn"]["validation"] != first["models"]["cnn"]["validation"]
    assert trial["models"]["dense"] == first["models"]["dense"]
    reasons = {stage["name"]: stage["outdated"] for stage in trial["stages"] if stage["outdated"]}
    assert reasons["evaluate@cnn"] == "read another models/cnn/model.onnx than dvc.lock has now"
    assert set(reasons) == {"evaluate@cnn", "report"}
