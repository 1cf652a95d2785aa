"""The commands in docs/own-data.md, from files as they are downloaded to a report; its code for groups of samples."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.download import download
from stages.download.digits import load_digits
from stages.own_data import program
from stages.prepare import prepare
from tests.conftest import Project
from tests.support.own_forms import write_csv, write_idx, write_parquet, write_pictures, write_svhn
from tests.support.own_settings import BIN
from tests.support.root import ROOT

CODE = re.compile(r"```python\n(.*?)```\n\n```sh\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"```sh\n# tested\n(.*?)```", re.DOTALL)
MODEL: dict[str, Any] = {
    "network": "dense", "units": [32], "optimizer": {"name": "adam"}, "batch_size": 16, "epochs": 4,
}  # fmt: skip
LETTERS, DIGITS = "ABCDEFGHIJ", "0123456789"
FURTHER = {"shapes": DIGITS, "fashion": DIGITS, "kaggle": DIGITS, "hub": LETTERS, "svhn": DIGITS}


def write_downloads(folder: Path) -> None:
    """Writes scikit-learn's digits in all forms of the page."""
    folder.mkdir(parents=True)
    x, y, x_test, y_test, *_ = load_digits()
    write_pictures(folder / "letters", 255 - x[:300], y[:300], LETTERS)
    np.savez_compressed(folder / "shapes.npz", imgs=x[:300], kinds=y[:300])
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    for name, array in zip(names, (x[:300], y[:300], x_test[:80], y_test[:80]), strict=True):
        write_idx(folder / f"{name}-ubyte.gz", array)
    write_csv(folder / "train.csv", x[:500], y[:500])
    for part, images, labels in (("train", x[:300], y[:300]), ("test", x_test[:80], y_test[:80])):
        write_parquet(folder / "hub" / f"{part}-00000-of-00001.parquet", images, labels.tolist(), LETTERS)
        padded = np.pad(np.stack([images] * 3, -1), ((0, 0), (2, 2), (2, 2), (0, 0)))
        write_svhn(folder / f"{part}_32x32.mat", padded, labels)


def run_block(project: Project, block: str, home: Path) -> str:
    """Runs the lines of a block of the page in the copy of the project, and returns what they printed."""
    script = home / "bin" / "inkflow"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(
        f'#!/bin/sh\n[ "$1" = run ] && set -- "$@" --no-server\nexec "{BIN}/python" -m flows "$@"\n'
    )  # no Prefect server: seconds a command
    script.chmod(0o755)
    settings = {"HOME": str(home), "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}", "INKFLOW_MIRROR": ""}
    done = subprocess.run(
        ["bash", "-euxc", block], cwd=project.folder, env=os.environ | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not among its deps" not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def prepared(project: Project, tmp_path: Path) -> Project:
    """A copy of the project with one quick model, and the downloads in the home folder `tmp_path`/home."""
    write_downloads(tmp_path / "home" / "Downloads")
    gates: dict[str, Any] = {"every": {}, "models": {}}
    project.set({"prepare.samples": None, "prepare.normalise": "standard", "models": {"dense": MODEL}, "gates": gates})
    return project


def blocks() -> list[str]:
    """The tested blocks of the page."""
    return BLOCK.findall((ROOT / "docs" / "own-data.md").read_text(encoding="utf-8"))


def check_report(project: Project, dataset: str, names: str) -> None:
    """The report is about `dataset`: its title, its class names, and a model that learnt something."""
    page = (project.folder / "reports" / "index.html").read_text(encoding="utf-8")
    description = json.loads((project.folder / "data" / "raw" / "dataset.json").read_text())
    assert description["name"] == dataset
    assert description["title"] in page
    assert "".join(description["class_names"]) == names
    accuracy = json.loads((project.folder / "evaluation" / "dense" / "metrics.json").read_text())["accuracy"]
    assert 0.5 < accuracy <= 1, dataset


@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(600)
def test_the_first_block(prepared: Project, tmp_path: Path) -> None:
    """A folder of pictures becomes a report with its own class names, and predict answers with them."""
    printed = run_block(prepared, blocks()[0], tmp_path / "home")
    assert "letters: a folder of pictures, 240 training and 60 test images, 28 x 28, grey, uint8" in printed
    check_report(prepared, "letters", LETTERS)
    assert "Letters" in (prepared.folder / "reports" / "index.html").read_text(encoding="utf-8")
    picture = sorted((tmp_path / "home" / "Downloads" / "letters" / "C").iterdir())[0]
    answer = run_block(prepared, f"inkflow predict dense {picture} --json", tmp_path / "home")
    assert json.loads(answer)["label"] in LETTERS


@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("dataset", "names"), FURTHER.items())
def test_further_blocks(prepared: Project, tmp_path: Path, dataset: str, names: str) -> None:
    """Each further form becomes a report by the page's own commands."""
    (block,) = [block for block in blocks() if f"data add {dataset} " in block]
    run_block(prepared, block, tmp_path / "home")
    check_report(prepared, dataset, names)


def test_every_block_is_run() -> None:
    """The page has one block for each form that these tests know."""
    assert [block.split("data add ")[1].split()[0] for block in blocks()] == ["letters", *FURTHER]


def test_who_made_each_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's code adds the writers to an npz file, and its setting holds out whole writers of the data set."""
    ((code, commands),) = CODE.findall((ROOT / "docs" / "own-data.md").read_text(encoding="utf-8"))
    name, file = re.findall(r"data add (\S+) (\S+)", commands)[0]
    key, value = re.findall(r"--set (\S+)=(\S+)", commands)[0]
    monkeypatch.chdir(tmp_path)
    x, y, x_test, y_test, *_ = load_digits()
    arrays = {"x_train": x[:300], "y_train": y[:300], "x_test": x_test[:80], "y_test": y_test[:80]}
    np.savez_compressed("letters.npz", allow_pickle=False, **arrays)
    writers = [f"writer {number // 15}" for number in range(300)]
    Path("writers.txt").write_text("\n".join(writers), encoding="utf-8")
    exec(code, {})
    options = {"name": name, "paths": [file], "in_place": True, "out": "copy.npz", "result": "result.json"}
    assert program.main([json.dumps(options)]) == 0
    path = "copy.npz" if Path("copy.npz").exists() else file
    entry = {"title": name, "path": path} | json.loads(Path("result.json").read_text())["entry"]
    params = {"dataset": name, "datasets": {name: entry}, "models": {"dense": MODEL}, "report": {}}
    Path("params.yaml").write_text(json.dumps(params | {key.split(".")[0]: {key.split(".")[1]: value}}))
    assert download.main(["--out", "raw"]) == 0
    assert prepare.main(["--raw", "raw", "--out", "prepared"]) == 0
    assert "groups: 18 for training, 2 for validation, no group in both" in capsys.readouterr().out
    counts = {"train": 18, "validation": 2, "test": None, "shared": 0}
    assert json.loads(Path("prepared/prepared.json").read_text())["groups"] == counts
    assert len(np.load("prepared/y_validation.npy")) == 30
