"""The pages that Inkflow writes, each made of the texts of strangers."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.support.many_versions import ManyVersions, Point, first_point
from stages.report import compare_runs, report
from tests.support.report_shapes import shaped_run
from tests.support.runs_pages import write_runs_page

FILES = {"page": "index.html", "summary": "summary.md", "models": "metrics.csv"}


def report_page(folder: Path, text: str) -> Mapping[str, str]:
    """Returns the files of a report by name; data set, classes, device and versions are named `text`."""
    run = shaped_run(folder, 2, 3, names=[text, f"{text} 2", f"{text} 3"])
    params = json.loads((folder / "params.yaml").read_text())
    params["datasets"]["digits"] |= {"title": text, "licence": text}
    run.edit("params.yaml", **params)
    run.edit("data/raw/dataset.json", title=text, licence=text)
    for path in folder.glob("models/*/training.json"):
        content = json.loads(path.read_text())
        device, versions = {"kind": "cpu", "name": text}, {"keras": text, "backend": text}
        path.write_text(json.dumps(content | {"device": device, "versions": versions}))
    assert report.main(run.arguments()) == 0
    return {name: (run.out / file).read_text(encoding="utf-8") for name, file in FILES.items()}


def comparison_page(folder: Path, text: str) -> Mapping[str, str]:
    """Returns the page that compares two branches, of which one is named `text`."""
    for name in ("old", "new"):
        shaped_run(folder / name, 1, 3)
    (folder / "new/models/model_00/model.onnx").write_bytes(b"other")
    branch = "".join(text.split()).replace("=", "_").replace("\x00", "")  # as `inkflow compare` names it
    names = [f"--old={branch}={folder / 'old'}", f"--new=now={folder / 'new'}", f"--out={folder / 'out'}"]
    assert compare_runs.main(names) == 0
    return {"page": (folder / "out/index.html").read_text(encoding="utf-8")}


def runs_page(folder: Path, text: str) -> Mapping[str, str]:
    """Returns the page of a project whose parameters, messages, authors, branch and experiment are named `text`."""
    project = ManyVersions(folder / "project", samples=40)
    first = first_point()
    quoted = json.dumps(text)
    odd = {"units": 64, "learning_rate": 0.001, "dropout": 0.1, "epochs": 5, quoted: quoted}
    one = project.commit(first, text)
    named = Point({**first.models, "cnn": {**odd, "epochs": 9}}, "mnist", "2")
    two = project.commit(named, f"second\n\n{text}", parents=(one,))
    reference = "".join(letter for letter in text if letter.isalnum() or letter in "<>\"'()=;/!&|`$").strip("/.")
    reference = reference.replace("//", "/").replace("/.", "/")[:120] or "x"
    project.commit(first, "side", parents=(two,), ref=f"refs/heads/s{reference}x")
    project.tag(f"t{reference}x", two)
    ascii_name = text.encode("ascii", "ignore").decode().translate(dict.fromkeys(map(ord, "<>\n\r\0")))
    project._stream = [part.replace(b"Ada <ada", f"{ascii_name} <ada".encode()) for part in project._stream]
    name = "".join(letter for letter in reference if letter != "/")
    project.finish({f"e{name}{number}x": first.with_model("cnn", epochs=number) for number in (6, 7)})
    page = write_runs_page(project.root, folder / "runs.html")
    return {"page": page.read_text(encoding="utf-8")}


PAGES: Mapping[str, Callable[[Path, str], Mapping[str, str]]] = {
    "report": report_page,
    "comparison": comparison_page,
    "all versions": runs_page,
}
