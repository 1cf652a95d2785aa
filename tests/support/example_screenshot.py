"""Takes docs/any-project.png: the graph of DVC's example-get-started on Prefect's page, from a real run.

    PREFECT_SERVER_UI_API_URL=/api prefect server start &
    PREFECT_API_URL=http://127.0.0.1:4200/api python -m tests.support.example_screenshot

The stages, dependencies, parameters and outputs are those of github.com/iterative/example-get-started. Its programs
need a download and scikit-learn, so each one is replaced here by a command that copies its inputs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support.prefect_api import api
from tests.support.root import ROOT

CHROMIUM = "/usr/bin/chromium"
DRAWING_MS = 3000  # the graph is a canvas: nothing on the page says that it is drawn
PICTURE = ROOT / "docs" / "any-project.png"
STAGES = """stages:
  prepare:
    cmd: sleep 15; mkdir -p data/prepared; cp data/data.xml data/prepared/train.tsv
    deps: [data/data.xml, src/prepare.py]
    params: [prepare.seed, prepare.split]
    outs: [data/prepared]
  featurize:
    cmd: sleep 5; mkdir -p data/features; cp data/prepared/* data/features
    deps: [data/prepared, src/featurization.py]
    params: [featurize.max_features, featurize.ngrams]
    outs: [data/features]
  train:
    cmd: sleep 8; cat data/features/* > model.pkl
    deps: [data/features, src/train.py]
    params: [train.min_split, train.n_est, train.seed]
    outs: [model.pkl]
  evaluate:
    cmd: sleep 5; mkdir -p eval; wc -c model.pkl > eval/metrics.json
    deps: [data/features, model.pkl, src/evaluate.py]
    outs: [eval]
"""
FILES = {
    "dvc.yaml": STAGES,
    "params.yaml": (
        "prepare: {split: 0.20, seed: 20170428}\nfeaturize: {max_features: 200, ngrams: 2}\n"
        "train: {seed: 20170428, n_est: 50, min_split: 0.01}\n"
    ),
    "data/data.xml": "<posts/>\n",
    **{f"src/{name}.py": f"# {name}\n" for name in ("prepare", "featurization", "train", "evaluate")},
}


def main() -> int:
    """Runs the example in a temporary folder and takes the picture."""
    url = os.environ["PREFECT_API_URL"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "example-get-started"
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "add", "-q", "data/data.xml"]):
            subprocess.run(command, cwd=folder, check=True)
        subprocess.run(["inkflow", "run"], cwd=folder, check=True)
    [run] = api(url, "POST", "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.goto(f"{url.removesuffix('/api')}/runs/flow-run/{run['id']}")
        take_picture(page)
        browser.close()
    return 0


def take_picture(page: Page) -> None:
    """Opens the list of tasks, has the graph drawn stage by stage, and writes the picture."""
    page.get_by_text("Task Runs", exact=True).click(timeout=120_000)
    for name in ("prepare", "featurize", "train", "evaluate"):
        page.get_by_text(name, exact=True).first.wait_for(timeout=120_000)
    page.locator("canvas").first.wait_for(timeout=120_000)
    page.wait_for_load_state("networkidle")
    page.get_by_label("Run Graph Options").click()
    page.get_by_text("Hide events").click()
    page.keyboard.press("Escape")
    page.get_by_title("Recenter graph").click()
    page.mouse.move(700, 600)
    page.wait_for_timeout(DRAWING_MS)
    page.screenshot(path=PICTURE)


if __name__ == "__main__":
    sys.exit(main())
