"""The pages that Inkflow writes, each with the doors through which the texts of strangers reach it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.many_versions import ManyVersions, Point, first_point
from flows.tasks.artifacts import report_artifacts
from stages.report import compare_runs, report
from tests.support.report_shapes import shaped_run
from tests.support.runs_pages import write_runs_page
from tests.torture.support.published import data

FILES = {"page": "index.html", "summary": "summary.md", "models": "metrics.csv"}
Texts = Mapping[str, str]  # by door


@dataclass(frozen=True)
class Page:
    """A page into which texts of others are written.

    Attributes:
        doors: where the texts come from that reach it.
        write: writes its project into a folder, with a text at each door; returns the page and what is beside it.
    """

    doors: tuple[str, ...]
    write: Callable[[Path, Texts], Mapping[str, str]]


def report_page(folder: Path, texts: Texts) -> Mapping[str, str]:
    """Returns the files of a report, and its artifacts in Prefect."""
    name = texts["class"]
    run = shaped_run(folder, 2, 3, names=[name, f"{name} 2", f"{name} 3"])
    params = json.loads((folder / "params.yaml").read_text())
    params["datasets"]["digits"] |= {"title": texts["data set"], "licence": texts["licence"]}
    run.edit("params.yaml", **params)
    run.edit("data/raw/dataset.json", title=texts["data set"], licence=texts["licence"])
    for path in folder.glob("models/*/training.json"):
        content = json.loads(path.read_text())
        device, versions = (
            {"kind": "cpu", "name": texts["device"]},
            dict.fromkeys(("keras", "backend"), texts["version"]),
        )
        path.write_text(json.dumps(content | {"device": device, "versions": versions}))
    assert report.main(run.arguments()) == 0
    brief, table, _ = report_artifacts(folder)
    published = {"brief": data(brief), "table": data(table)}
    return {name: (run.out / file).read_text(encoding="utf-8") for name, file in FILES.items()} | published


def comparison_page(folder: Path, texts: Texts) -> Mapping[str, str]:
    """Returns the page that compares two branches."""
    for name in ("old", "new"):
        shaped_run(folder / name, 1, 3)
    (folder / "new/models/model_00/model.onnx").write_bytes(b"other")
    branch = "".join(texts["branch"].split()).replace("=", "_").replace("\x00", "")  # as `inkflow compare` names it
    names = [f"--old={branch}={folder / 'old'}", f"--new=now={folder / 'new'}", f"--out={folder / 'out'}"]
    assert compare_runs.main(names) == 0
    return {"page": (folder / "out/index.html").read_text(encoding="utf-8")}


def runs_page(folder: Path, texts: Texts) -> Mapping[str, str]:
    """Returns the page of a project: parameters, messages, an author, a branch, a tag and experiments."""
    project = ManyVersions(folder / "project", samples=40)
    first = first_point()
    key, value = (json.dumps(texts[door]) for door in ("parameter", "value"))
    odd = {"units": 64, "learning_rate": 0.001, "dropout": 0.1, "epochs": 5, key: value}
    one = project.commit(first, texts["subject"])
    named = Point({**first.models, "cnn": {**odd, "epochs": 9}}, "mnist", "2")
    two = project.commit(named, f"second\n\n{texts['message']}", parents=(one,))
    project.commit(first, "side", parents=(two,), ref=f"refs/heads/s{_reference(texts['branch'])}x")
    project.tag(f"t{_reference(texts['tag'])}x", two)
    author = texts["author"].encode("ascii", "ignore").decode().translate(dict.fromkeys(map(ord, "<>\n\r\0")))
    project._stream = [part.replace(b"Ada <ada", f"{author} <ada".encode()) for part in project._stream]
    name = _reference(texts["experiment"]).replace("/", "")
    project.finish({f"e{name}{number}x": first.with_model("cnn", epochs=number) for number in (6, 7)})
    page = write_runs_page(project.root, folder / "runs.html")
    return {"page": page.read_text(encoding="utf-8")}


def _reference(text: str) -> str:
    """Returns `text` as a part of the name of a reference, which Git bounds."""
    some = "".join(letter for letter in text if letter.isalnum() or letter in "<>\"'()=;/!&|`$").strip("/.")
    return some.replace("//", "/").replace("/.", "/")[:120] or "x"


PAGES: Mapping[str, Page] = {
    "report": Page(("class", "data set", "licence", "device", "version"), report_page),
    "comparison": Page(("branch",), comparison_page),
    "all versions": Page(
        ("parameter", "value", "subject", "message", "author", "branch", "tag", "experiment"), runs_page
    ),
}
