"""Pages over all versions, made of fabricated histories for the tests and pictures."""

from pathlib import Path
from typing import Any

from benchmarks.support.many_versions import ManyVersions, Point, first_point
from flows.cli.runs.report_runs import collect
from stages.runs.content import page_content
from stages.runs.page import render_page

FIRST = first_point()
Content = dict[str, Any]  # of a page over all versions


def row(content: Content, name: str) -> dict[str, Any]:
    """Returns the row of a commit by its message, or of an experiment by its name."""
    return next(item for item in content["rows"] if name in (item["title"], item["name"]))


def make_history(folder: Path) -> Path:
    """Makes a project with two data sets, a failed gate, a broken version, a branch, a tag and three sweeps."""
    project = ManyVersions(folder, samples=400)
    one = project.commit(FIRST, "first")
    two = project.commit(FIRST.with_model("dense", units=4).with_model("cnn", epochs=9), "dense: small", parents=(one,))
    three = project.commit(Point(FIRST.models, "digits", "1"), "the digits", parents=(two,))
    broken = Point(FIRST.models, extra={"dvc.lock": b"stages: [\n"})
    four = project.commit(broken, "broken", parents=(three,))
    strict = project.commit(Point(FIRST.models, "mnist", "2", 0.999), "strict gate", parents=(four,))
    five = project.commit(FIRST, "back", parents=(strict,))
    project.tag("cnn@v0.0.1", five)
    project.commit(FIRST.with_model("dense", units=8), "side", parents=(two,), ref="refs/heads/side")
    rates = {f"rate-{n}": FIRST.with_model("cnn", learning_rate=10**-n) for n in (1, 2, 4)}
    pairs = {f"pair-{u}-{e}": FIRST.with_model("dense", units=u, epochs=e) for u in (16, 32) for e in (3, 7)}
    three_keys = {
        f"trial-{n}": FIRST.with_model("dense_dropout", units=8 + n, dropout=n / 20, learning_rate=0.002 * (n + 1))
        for n in range(1, 8)
    }
    project.finish(rates | pairs | three_keys)
    return folder


def write_runs_page(project: Path, page: Path) -> Path:
    """Writes the page of a project."""
    page.write_text(render_page(page_content(collect(project))), encoding="utf-8")
    return page
