"""`inkflow plots`: the pages of `dvc plots` in any DVC project, drawn in a browser without a network."""

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows.cli.main import main as inkflow
from flows.dvc_repo.plots_page import TEMPLATE
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.flows.dvc_repo.test_remotes import commit
from tests.support.chromium import NEEDS_CHROMIUM, open_chromium, open_page
from tests.support.commands import dvc
from tests.support.root import ROOT

TEMPLATES = ("linear", "simple", "scatter", "smooth", "confusion", "bar_horizontal")
OVERLAID = {"x": "epoch", "y": {"models/cnn/history.csv": "val_loss", "models/dense/history.csv": "val_loss"}}
# Returns for each plot of the page its name, the number of its marks, and that of its pictures.
DRAWN = """() => [...document.querySelectorAll("main > div")].map((plot) => [
  plot.id, plot.querySelectorAll("svg .mark-symbol path, svg .mark-line path, svg .mark-rect path").length,
  [...plot.querySelectorAll("img")].filter((image) => image.naturalWidth > 0).length])"""


@pytest.fixture
def plotted(toy: Toy) -> Toy:
    """A committed project with a plot of each of DVC's templates, a picture and overlaid curves; the current folder."""
    curves = {f"{name}.csv": "epoch,val_loss\n1,0.5\n2,0.25\n" for name in ("2024 a", "models/cnn/history")}
    confusion = "actual,predicted\ncat,cat\ndog,cat\ndog,dog\n"
    toy.write(curves | {"confusion.csv": confusion, "models/dense/history.csv": "epoch,val_loss\n1,0.9\n2,0.4\n"})
    plots: list[dict[str, Any]] = [{"2024 a.csv": {"x": "epoch", "y": "val_loss"}}, {"picture.png": None}]
    for name in TEMPLATES:
        source, axes = ("2024 a.csv", ("epoch", "val_loss"))
        if name == "confusion":
            source, axes = "confusion.csv", ("actual", "predicted")
        plots.append({f"a plot: {name}": {"template": name, "x": axes[0], "y": {source: axes[1]}}})
    plots.append({"Learning curves": {"template": "learning_curves", "title": "of all models", **OVERLAID}})
    Image.new("RGB", (20, 10)).save(toy.folder / "picture.png")
    toy.write({"dvc.yaml": json.dumps({"plots": plots})})
    toy.write({".dvc/plots/learning_curves.json": (ROOT / ".dvc/plots/learning_curves.json").read_text()})
    commit(toy.folder)
    return toy


def dvc_plots(*arguments: str) -> Path:
    """Calls `dvc plots` and returns its page."""
    dvc("plots", *arguments)
    return Path("dvc_plots/index.html").resolve()


class TestInChromium:
    """The pages in a real browser, which is offline."""

    pytestmark = NEEDS_CHROMIUM

    @pytest.mark.parametrize("arguments", [pytest.param(("show",), marks=pytest.mark.farm), ("diff", "HEAD")])
    @pytest.mark.farm
    def test_every_plot_is_drawn_offline(self, plotted: Toy, arguments: tuple[str, ...]) -> None:
        """Both commands draw each plot of each template of DVC, curves over one another, without an error."""
        assert inkflow(["plots"]) == 0
        plotted.write({"models/dense/history.csv": "epoch,val_loss\n1,0.7\n2,0.6\n3,0.3\n"})
        page_file = dvc_plots(*arguments)
        errors: list[str] = []
        with open_chromium() as browser:
            page = open_page(browser, offline=True)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto(page_file.as_uri())
            vega = len(TEMPLATES) + 2
            page.wait_for_function(f"document.querySelectorAll('main svg.marks').length === {vega}")
            drawn = {name: (marks, pictures) for name, marks, pictures in page.evaluate(DRAWN)}
            lines = page.locator("#Learning_curves svg .mark-line path").count()
        assert errors == []
        assert len(drawn) == vega + 1
        assert all(marks or pictures for marks, pictures in drawn.values()), drawn
        assert lines == 2 * (1 if arguments == ("show",) else 2), "a line for each model and commit"


@pytest.mark.farm
def test_a_missing_template_stops_nothing(plotted: Toy) -> None:
    """If the template is deleted, `dvc plots show` writes its own page; `inkflow plots` mends it."""
    assert inkflow(["plots"]) == 0
    template = Path(".dvc") / TEMPLATE
    template.unlink()
    page = dvc_plots("show").read_text()
    assert "cdn.jsdelivr.net" in page and "vegaEmbed" in page
    assert inkflow(["plots"]) == 0
    assert template.is_file()
    page = dvc_plots("show").read_text()
    assert "cdn.jsdelivr.net" not in page


@pytest.mark.farm
def test_settings_are_kept(toy: Toy) -> None:
    """Comments, other settings, the rights of the file and git's view of the project stay as they were."""
    settings = Path(".dvc/config.local")
    toy.write({str(settings): "# mine\n[core]\n    remote = é    # here\n"})
    settings.chmod(0o600)
    commit(toy.folder)
    assert inkflow(["plots"]) == 0
    assert "# mine" in settings.read_text() and "remote = é    # here" in settings.read_text()
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    status = subprocess.run(["git", "status", "--short"], capture_output=True, text=True, check=True).stdout
    assert status == ""
    before = settings.read_bytes()
    assert inkflow(["plots"]) == 0
    assert settings.read_bytes() == before


def test_a_template_of_your_own_is_kept(toy: Toy) -> None:
    """A template that the project names already is an error of `inkflow plots`, and `inkflow init` leaves it."""
    toy.write({".dvc/config": "[plots]\nhtml_template = mine.html\n", "dvc.yaml": "stages: {}\n"})
    with pytest.raises(
        InvalidInput, match=r"plots\.html_template is mine\.html, a template of your own, which is kept"
    ):
        inkflow(["plots"])
    assert inkflow(["init"]) == 0
    assert not Path(".dvc/config.local").exists() and not (Path(".dvc") / TEMPLATE).exists()


def test_broken_settings(toy: Toy) -> None:
    """Settings that DVC cannot read are an error of one sentence, and stay."""
    toy.write({".dvc/config.local": "[core\n"})
    with pytest.raises(InvalidInput, match=r"DVC's settings cannot be read: .*; correct them"):
        inkflow(["plots"])
    assert Path(".dvc/config.local").read_text() == "[core\n"


@pytest.mark.farm
def test_init_writes_it(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow init` shows and writes the template of an existing project, once."""
    toy.write({"dvc.yaml": "stages: {}\n"})
    assert inkflow(["init"]) == 0
    assert "write   .dvc/config.local" in capsys.readouterr().out
    assert (Path(".dvc") / TEMPLATE).is_file()
    assert inkflow(["init"]) == 0
    assert "config.local" not in capsys.readouterr().out
