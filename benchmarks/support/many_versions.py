"""Makes a project with many commits and experiments, in the form of Inkflow's own, without running a stage.

Commits are written with `git fast-import`, results into DVC's cache; predictions are random with a known accuracy.
"""

import hashlib
import io
import json
import random
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import ROOT
from flows.dvc_repo.creation import create_project

MODELS = ("dense", "dense_dropout", "cnn")
DVC_YAML = (ROOT / "dvc.yaml").read_bytes()


@dataclass
class Point:
    """What a version has: parameters of the models, the data set, its code, the limit of the gate."""

    models: dict[str, dict[str, Any]]
    dataset: str = "mnist"
    code: str = "1"
    gate: float = 0.9
    extra: dict[str, bytes | None] = field(default_factory=dict)  # further files; None removes one

    def with_model(self, name: str, **changes: Any) -> "Point":
        """Returns a point with other parameters of one model."""
        return Point({**self.models, name: {**self.models[name], **changes}}, self.dataset, self.code, self.gate)


def first_point() -> Point:
    """Returns the point that a history begins with."""
    return Point({name: {"units": 64, "learning_rate": 0.001, "dropout": 0.1, "epochs": 5} for name in MODELS})


class ManyVersions:
    """A project in `root`, whose versions are added one by one and written by `finish`."""

    def __init__(self, root: Path, samples: int = 1000) -> None:
        self.root, self.samples = root, samples
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
        create_project(root, is_subfolder=False)
        rng = np.random.default_rng(0)
        self._labels = rng.integers(0, 10, samples)
        self._hard = rng.random(samples)  # which images most models get wrong
        self._stream: list[bytes] = []
        self._marks = 0
        self._time = 1_790_000_000
        self.archive: dict[str, bytes] = {}  # files of DVC's cache by hash
        self._known: dict[str, tuple[dict[str, bytes], str]] = {}

    def commit(self, point: Point, message: str, *, parents: tuple[int, ...] = (), ref: str = "refs/heads/main") -> int:
        """Adds a commit and returns its mark."""
        self._marks += 1
        self._time += 3600
        lines = [f"commit {ref}", f"mark :{self._marks}", f"committer Ada <ada@example.org> {self._time} +0000"]
        text = message.encode()
        head = "\n".join(lines).encode() + b"\ndata %d\n%b\n" % (len(text), text)
        links = b"".join(b"%b :%d\n" % (b"merge" if i else b"from", mark) for i, mark in enumerate(parents))
        files = {
            name: content for name, content in {**self._files(point), **point.extra}.items() if content is not None
        }
        blobs = (b"M 644 inline %b\ndata %d\n%b\n" % (name.encode(), len(body), body) for name, body in files.items())
        self._stream.append(head + links + b"deleteall\n" + b"".join(blobs))
        return self._marks

    def tag(self, name: str, mark: int) -> None:
        """Adds a tag."""
        self._stream.append(f"reset refs/tags/{name}\nfrom :{mark}\n".encode())

    def finish(self, experiments: Mapping[str, Point] | None = None) -> str:
        """Writes all, checks `main` out, and adds the experiments on its last commit, whose hash is returned."""
        self._import()
        head = self.git("rev-parse", "main")
        base = f"refs/exps/{head[:2]}/{head[2:]}"
        for name, point in (experiments or {}).items():
            self.commit(point, f"dvc: commit experiment {name}", ref=f"{base}/{name}")
            self._stream[-1] = self._stream[-1].replace(b"\ndeleteall\n", f"\nfrom {head}\ndeleteall\n".encode(), 1)
        self._import()
        self.git("checkout", "-q", "-f", "main")
        for digest, content in self.archive.items():
            path = self.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return head

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Runs git in the project, and returns its output."""
        done = subprocess.run(["git", *arguments], cwd=self.root, input=stdin, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def _import(self) -> None:
        if self._stream:
            self.git("fast-import", "--quiet", "--force", stdin=b"".join(self._stream))
            self._stream.clear()

    def _files(self, point: Point) -> dict[str, bytes]:
        params = {"dataset": point.dataset, "models": point.models, "gates": {"every": {"lower_bound": point.gate}}}
        files = {
            "params.yaml": _yaml(params).encode(),
            "dvc.yaml": DVC_YAML,
            ".gitignore": b"/models\n/data\n/.inkflow\n/evaluation/*/predictions.parquet\n/reports/gates.json\n",
            ".dvc/config": b"",
            ".dvc/.gitignore": b"/config.local\n/tmp\n/cache\n",
        }
        data, described = (self._cache(f"{kind} {point.dataset}".encode()) for kind in ("data", "description"))
        entries = [
            _entry(
                "download",
                {},
                {"data/raw/dataset.npz": data, "data/raw/dataset.json": described},
                {"dataset": point.dataset},
            )
        ]
        checks = []
        for name, model in point.models.items():
            made, text, accuracy = self._model(name, model, point, data)
            files |= made
            entries.append(text)
            status = "passed" if accuracy >= point.gate else "failed"
            sentence = f"{accuracy:.4f}, at least {point.gate}"
            checks.append({"model": name, "gate": "lower_bound", "status": status, "sentence": sentence})
        gates = self._cache(json.dumps({"passed": True, "note": None, "checks": checks}).encode())
        entries.append(
            _entry("report", {"models": data, "evaluation": data}, {"reports/gates.json": gates}, {"gates": point.gate})
        )
        files["dvc.lock"] = ("schema: '2.0'\nstages:\n" + "".join(entries)).encode()
        return files

    def _model(
        self, name: str, model: Mapping[str, Any], point: Point, data: str
    ) -> tuple[dict[str, bytes], str, float]:
        """Returns the files in git of a trained model, its entries in dvc.lock, and its accuracy."""
        key = json.dumps([name, model, point.dataset, point.code])
        if key not in self._known:
            self._known[key] = self._train(name, model, point, data, random.Random(key))
        files, text = self._known[key]
        return files, text, json.loads(files[f"evaluation/{name}/metrics.json"])["accuracy"]

    def _train(
        self, name: str, model: Mapping[str, Any], point: Point, data: str, rng: random.Random
    ) -> tuple[dict[str, bytes], str]:
        rate = abs(np.log10(model["learning_rate"]) + 2.7)
        error = 0.02 + 0.05 * rate + 1.5 / model["units"] + 0.1 * abs(model["dropout"] - 0.2) + rng.uniform(0, 0.01)
        noise = np.random.default_rng(rng.randrange(2**32)).random(self.samples)
        wrong = 0.7 * self._hard + 0.3 * noise < error
        predicted = np.where(wrong, (self._labels + 1) % 10, self._labels)
        table = pd.DataFrame(
            {"index": np.arange(self.samples), "label": self._labels, "predicted": predicted, "probability": 0.9}
        ).astype({"index": "int32", "label": "int32", "predicted": "int32", "probability": "float32"})
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        errors = int(wrong.sum())
        scores = {"accuracy": 1 - errors / self.samples, "loss": 2 * error, "errors": errors, "samples": self.samples}
        rows = [f"{epoch},{2 * error + 1 / epoch},{2.1 * error + 1 / epoch}" for epoch in range(1, model["epochs"] + 1)]
        validation = {"validation_loss": 2.1 * error, "validation_accuracy": round(1 - error, 4)}
        outs = {
            f"models/{name}/history.csv": self._cache("\n".join(["epoch,loss,val_loss", *rows, ""]).encode()),
            f"models/{name}/model.onnx": self._cache(f"model {rng.random()}".encode()),
            f"models/{name}/training.json": self._cache(json.dumps({"samples": {"validation": 500}}).encode()),
            f"models/{name}/validation.json": self._cache(json.dumps(validation).encode()),
        }
        metrics = json.dumps(scores, indent=2).encode() + b"\n"
        deps = {"data/raw/dataset.npz": data, "stages/train": _md5(point.code.encode()) + ".dir"}
        results = {
            f"evaluation/{name}/metrics.json": _md5(metrics),
            f"evaluation/{name}/predictions.parquet": self._cache(buffer.getvalue()),
        }
        onnx = {f"models/{name}/model.onnx": outs[f"models/{name}/model.onnx"], "data/raw/dataset.npz": data}
        text = _entry(f"train@{name}", deps, outs, {f"models.{name}": dict(model)})
        return {f"evaluation/{name}/metrics.json": metrics}, text + _entry(f"evaluate@{name}", onnx, results, {})

    def _cache(self, content: bytes) -> str:
        digest = _md5(content)
        self.archive[digest] = content
        return digest


def _yaml(content: Mapping[str, Any], indent: str = "") -> str:
    """Returns a mapping as YAML in block style."""
    lines = (
        f"{indent}{key}:\n{_yaml(value, indent + '  ')}" if isinstance(value, Mapping) else f"{indent}{key}: {value}\n"
        for key, value in content.items()
    )
    return "".join(lines)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _entry(name: str, deps: Mapping[str, str], outs: Mapping[str, str], params: Mapping[str, Any]) -> str:
    """Returns an entry of dvc.lock as DVC writes it."""
    text = f"  {name}:\n    cmd: {name.replace('@', ' ')}\n"
    for kind, files in (("deps", deps), ("outs", outs)):
        text += f"    {kind}:\n" if files and kind == "deps" else ""
        if kind == "outs" and params:
            text += "    params:\n      params.yaml:\n" + _yaml(params, " " * 8)
        text += "    outs:\n" if kind == "outs" else ""
        text += "".join(
            f"    - path: {path}\n      hash: md5\n      md5: {md5}\n      size: 1\n" for path, md5 in files.items()
        )
    return text


def experiments(count: int) -> Iterator[tuple[str, Point]]:
    """Yields names and points: a sweep of one parameter, one of two, and a search of three with the rest."""
    first, rng = first_point(), random.Random(1)
    for number in range(count):
        if number < count // 10:
            rate = round(10 ** (-4 + 3 * number / max(1, count // 10 - 1)), 6)
            yield f"learning_rate={rate}", first.with_model("cnn", learning_rate=rate)
        elif number < count // 3:
            units, epochs = 2 ** (4 + number % 8), 2 + number // 8 % 12
            yield f"units={units},epochs={epochs}-{number}", first.with_model("dense", units=units, epochs=epochs)
        else:
            settings = {
                "learning_rate": round(10 ** rng.uniform(-4, -1), 6),
                "units": rng.randint(8, 256),
                "dropout": round(rng.uniform(0, 0.6), 3),
            }
            yield f"trial-{number}", first.with_model("dense_dropout", **settings)
