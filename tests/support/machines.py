"""Results of two machines in the form of Inkflow: real trainings on digits, a dvc.lock of each, one DVC cache.

A training is a softmax regression in NumPy. Its machine decides the order of sums (`threads`) and the type of the
weights (`precision`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from ruamel.yaml import YAML
from scipy.stats import binomtest, t
from sklearn.datasets import load_digits

Files = dict[str, bytes]
TRAIN = 1000  # samples; the others are for the test


@dataclass(frozen=True)
class Machine:
    """What decides the results of a model on one machine, and what was done to them afterwards."""

    seed: int = 0
    threads: int = 1
    precision: str = "float32"
    container: Literal["zstd", "snappy"] = "zstd"  # compression of the predictions, and the producer of the model file
    units: int = 10  # a parameter of the recipe
    code: str = "1"  # the hash of the code
    tamper: str = ""  # weights, quietly, unevaluated, metrics, scores
    seeds: tuple[int, ...] = ()


@dataclass
class Records:
    """The files of one machine, and the entries of its dvc.lock and environment.lock."""

    files: Files = field(default_factory=dict)
    stages: dict[str, Any] = field(default_factory=dict)

    def add(self, stage: str, deps: Mapping[str, str], params: Mapping[str, Any], outs: Files) -> None:
        """Adds the results `outs` of a stage."""
        self.files |= outs
        self.stages[stage] = {
            "cmd": f"python -m {stage}",
            "deps": [{"path": path, "hash": "md5", "md5": value} for path, value in deps.items()],
            "params": {"params.yaml": dict(params)},
            "outs": [{"path": path, "hash": "md5", "md5": md5(content)} for path, content in outs.items()],
        }

    def write(self, lock: Path, cache: Path) -> None:
        """Writes dvc.lock, and the contents into DVC's `cache`."""
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w", encoding="utf-8") as file:
            YAML().dump({"schema": "2.0", "stages": self.stages}, file)
        for content in self.files.values():
            digest = md5(content)
            path = cache / "files/md5" / digest[:2] / digest[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(content)
                path.chmod(0o444)


def md5(content: bytes) -> str:
    """Returns the hash that DVC uses."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def results(models: Mapping[str, Machine], folder: Path) -> Records:
    """Returns the results of `models` by name; `folder` is for temporary files."""
    digits = load_digits()
    images, labels = digits.data / 16, digits.target
    records = Records()
    records.add("download", {}, {"dataset": "digits"}, {"data/raw/dataset.json": b'{"classes": 10}\n'})
    for name, machine in models.items():
        seeds = machine.seeds or (machine.seed,)
        weights = [train(images[:TRAIN], labels[:TRAIN], replace(machine, seed=seed)) for seed in seeds]
        shown = weights[0].copy()
        if machine.tamper in ("weights", "quietly", "unevaluated"):
            shown[:, 3] = 0
        model = model_file(shown, machine, folder)
        where = {"threads": machine.threads, "precision": machine.precision}
        training = json.dumps({"model": name, "loss": float(np.abs(weights[0]).sum()), **where}).encode()
        data = md5(records.files["data/raw/dataset.json"])
        key = {"seeds": list(machine.seeds)} if machine.seeds else {"seed": machine.seed}
        params = {f"models.{name}": {"units": [machine.units], **key}}
        outs = {f"models/{name}/model.onnx": model, f"models/{name}/training.json": training}
        records.add(f"train@{name}", {"stages/train": machine.code, "data/raw/dataset.json": data}, params, outs)
        evaluated = shown if machine.tamper == "weights" else weights[0]
        answers = [(images[TRAIN:] @ part.astype(np.float32)) for part in (evaluated, *weights)]
        read = md5(model_file(weights[0], machine, folder)) if machine.tamper == "unevaluated" else md5(model)
        records.add(
            f"evaluate@{name}",
            {"data/raw/dataset.json": data, f"models/{name}/model.onnx": read},
            {},
            evaluation(name, labels[TRAIN:], answers, machine, folder),
        )
    return records


def train(images: NDArray[Any], labels: NDArray[Any], machine: Machine) -> NDArray[Any]:
    """Returns the weights of a softmax regression (64, 10) after two epochs."""
    random = np.random.default_rng(machine.seed)
    kind = ml_dtypes.bfloat16 if machine.precision == "bfloat16" else np.float32
    weights = random.normal(0, 0.01, (64, 10)).astype(kind)
    for _ in range(2):
        for batch in np.array_split(random.permutation(len(images)), 30):
            gradient = np.zeros((64, 10), np.float32)
            for part in np.array_split(batch, machine.threads):  # each thread sums its own part
                x = images[part].astype(np.float32)
                logits = x @ weights.astype(np.float32)
                chance = np.exp(logits - logits.max(axis=1, keepdims=True))
                chance /= chance.sum(axis=1, keepdims=True)
                chance[np.arange(len(part)), labels[part]] -= 1
                gradient += x.T @ chance / np.float32(len(batch))
            weights = (weights.astype(np.float32) - np.float32(0.5) * gradient).astype(kind)
    return weights.astype(np.float32)


def model_file(weights: NDArray[Any], machine: Machine, folder: Path) -> bytes:
    """Returns an ONNX file with these weights."""
    value = onnx.helper.make_tensor_value_info
    ends = [value("x", onnx.TensorProto.FLOAT, ["n", 64])], [value("y", onnx.TensorProto.FLOAT, ["n", 10])]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", *ends, [onnx.numpy_helper.from_array(weights, "w")])
    onnx.save(onnx.helper.make_model(graph, producer_name=machine.container), folder / "model.onnx")
    return (folder / "model.onnx").read_bytes()


def weights_of(content: bytes) -> NDArray[Any]:
    """Returns the weights in an ONNX file."""
    return np.asarray(onnx.numpy_helper.to_array(onnx.load_from_string(content).graph.initializer[0]))


def evaluation(name: str, labels: NDArray[Any], logits: list[NDArray[Any]], machine: Machine, folder: Path) -> Files:
    """Returns the files of the stage `evaluate`: for the exported weights, and for each seed if there are several."""
    predicted = [part.argmax(axis=1).astype(np.int32) for part in logits]
    table = {"index": np.arange(len(labels), dtype=np.int32), "label": labels, "predicted": predicted[0]}
    table |= {"probability": logits[0].max(axis=1)}
    table |= {f"seed_{seed}": part for seed, part in zip(machine.seeds, predicted[1:], strict=False)}
    path = folder / "predictions.parquet"
    pd.DataFrame(table).to_parquet(path, compression=machine.container)
    errors = int((predicted[0] != labels).sum()) - (5 if machine.tamper == "metrics" else 0)
    accuracy = (len(labels) - errors) / len(labels) if machine.tamper != "scores" else 1.0
    metrics = {"accuracy": accuracy, "errors": errors, "samples": len(labels)}
    return {
        f"evaluation/{name}/predictions.parquet": path.read_bytes(),
        f"evaluation/{name}/metrics.json": json.dumps(metrics).encode(),
    }


def counted(here: bytes, there: bytes, folder: Path) -> tuple[list[int], list[int], float]:
    """Returns the wrong answers in two files of predictions, those of one file alone, and the p-value of McNemar."""
    wrong = []
    for number, content in enumerate((here, there)):
        (folder / f"{number}.parquet").write_bytes(content)
        table = pd.read_parquet(folder / f"{number}.parquet")
        wrong.append((table["label"] != table["predicted"]).to_numpy())
    alone = [int((wrong[0] & ~wrong[1]).sum()), int((wrong[1] & ~wrong[0]).sum())]
    p = float(binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else 1.0
    return [int(part.sum()) for part in wrong], alone, p


def recipe_p(here: bytes, there: bytes, folder: Path) -> float:
    """Returns the p-value of two recipes from the errors of each seed in two files of predictions.

    Welch's t test over seeds and images. The variances come from the sums of squares of a two-way table: between seeds,
    between images, and the rest, which is what single seeds do on single images.
    """
    means: list[float] = []
    terms: list[tuple[float, int]] = []
    by_image: list[NDArray[Any]] = []
    rests = 0.0
    for number, content in enumerate((here, there)):
        (folder / f"{number}.parquet").write_bytes(content)
        table = pd.read_parquet(folder / f"{number}.parquet")
        wrong = table.filter(regex="^seed_").ne(table["label"], axis=0).to_numpy(float)  # (n, seeds)
        n, k = wrong.shape
        total, seeds, images = wrong.var() * n * k, wrong.mean(axis=0).var() * n * k, wrong.mean(axis=1).var() * n * k
        rest = (total - seeds - images) / ((k - 1) * (n - 1)) / n
        terms.append((max(seeds / (k - 1) / n, rest) / k, k - 1))
        means.append(wrong.mean())
        by_image.append(wrong.mean(axis=1))
        rests += rest / k
    terms.append((max(0.0, (by_image[0] - by_image[1]).var(ddof=1) / n - rests), n - 1))
    variance = sum(term for term, _ in terms)
    freedom = variance**2 / sum(term**2 / own for term, own in terms)
    return float(2 * t.sf(abs(means[0] - means[1]) / variance**0.5, freedom))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Returns the p-values after Holm's correction."""
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return corrected
