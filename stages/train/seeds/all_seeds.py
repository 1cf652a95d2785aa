"""Trains a model once for each of its seeds, and exports the model with the median validation loss.

    models/dense/model.onnx, training.json, ...   those of the median seed; training.json has the scores of all seeds
    models/dense/seeds/0/model.onnx, ...          those of each seed

A seed is trained only if no earlier run has trained it from the same inputs. While other seeds are being trained, a
finished one is kept beside the checkpoints, so that a kill loses no finished seed.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from stages.base import timings
from stages.base.files import replacing_folder
from stages.model.config import Model
from stages.train import outputs
from stages.train.custom.code import own_errors
from stages.train.seeds.earlier_seeds import find_earlier
from stages.train.seeds.finished import Files, files_in, is_finished, seal, summary_of
from stages.train.single_training import Trainings

Seeds = Mapping[int, Files]


def train_seeds(trainings: Trainings, model: Model, out: Path) -> None:
    """Trains `model` with each of its seeds and writes all outputs to the folder `out`.

    Raises:
        InvalidInput: the loss is not finite.
        InkflowError: an exported model differs from the trained one.
        OutputError: a folder is full, read-only, or not a folder.
    """
    models = {seed: model.of_seed(seed) for seed in model.seeds or ()}
    keys = {seed: trainings.key(single) for seed, single in models.items()}
    kept = kept_seeds(out / outputs.SEEDS, keys)
    finished: dict[int, Files] = {}
    fit_s: dict[int, float] = {}
    folders: list[Path] = []
    for seed, single in models.items():
        label, folder = f"{trainings.name}, seed {seed}", trainings.checkpoints / _name(trainings.name, keys[seed])
        if seed in kept:
            print(f"{label}: kept from the earlier run", flush=True)
        elif is_finished(files_in(folder), keys[seed]):
            print(f"{label}: kept from the interrupted run", flush=True)
        else:
            fit_s[seed] = _train_one(trainings, single, folder, label, keys[seed])
        folders.append(folder)
        finished[seed] = kept.get(seed) or files_in(folder)
    shipped = median_seed({seed: summary_of(files) for seed, files in finished.items()})
    print(f"{trainings.name}: seed {shipped} has the median validation loss", flush=True)
    export(shipped, finished, out)
    if shipped in fit_s:
        timings.record("train", trainings.name, out / "model.onnx", {"fit_s": fit_s[shipped]})
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def kept_seeds(folder: Path, keys: Mapping[int, str]) -> dict[int, Files]:
    """Returns the seeds of the earlier run with the output `folder` that need no training, by their fingerprints.

    If the earlier run had all of these seeds, no other ones, and the same inputs, then `--force` may have started the
    stage, and all seeds are trained again.
    """
    earlier = find_earlier(folder)
    kept: dict[int, Files] = {
        seed: earlier[str(seed)] for seed, key in keys.items() if is_finished(earlier.get(str(seed), {}), key)
    }
    return {} if len(kept) == len(keys) == len(earlier) else kept


def _train_one(trainings: Trainings, model: Model, folder: Path, label: str, key: str) -> float:
    """Trains `model` and writes its files to `folder`, all or none; returns the duration of the fit in seconds.

    The fingerprint `key` is that of the start: files of code may change during the training.
    """
    with replacing_folder(folder) as new:
        with own_errors(trainings.name, model):  # else an OSError of own code would be one of the folder
            trained = trainings.train(model, new, label, key)
        seal(new, model.seed, key, trained.summary)
    trained.checkpoint_file.remove()
    return trained.fit_s


def _name(model: str, key: str) -> str:
    return f"{model}-{key[:32]}.finished"


def median_seed(summaries: Mapping[int, Mapping[str, Any]]) -> int:
    """Returns the seed with the median validation loss; of an even number of seeds, the lower one in the middle."""
    ranked = sorted(summaries, key=lambda seed: (summaries[seed]["validation"]["loss"], seed))
    return ranked[(len(ranked) - 1) // 2]


def export(shipped: int, finished: Seeds, out: Path) -> None:
    """Writes the files of all `finished` seeds to the folder `out`, and those of the seed `shipped` as the model.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    summaries = {seed: summary_of(files) for seed, files in finished.items()}
    validation = {seed: summary["validation"] for seed, summary in summaries.items()}
    names = [name for name in validation[shipped] if all(name in scores for scores in validation.values())]
    spreads = {name: _spread([scores[name] for scores in validation.values()]) for name in names}
    summary = {
        **summaries[shipped],
        "seed": shipped,
        "seeds": {str(seed): scores for seed, scores in validation.items()},
        "between_seeds": spreads,
    }
    outputs.copy_model(finished[shipped], summary, out)
    means = {name: spread["mean"] for name, spread in spreads.items()}
    outputs.write_validation(out, means, spreads["loss"].get("deviation"))
    outputs.write_seeds(out, finished)


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Returns the mean of a score over the seeds and, of two or more, its standard deviation."""
    return {"mean": mean(values), **({"deviation": stdev(values)} if len(values) > 1 else {})}
