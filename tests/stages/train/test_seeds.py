"""A model with several seeds: one training each, kept while its inputs stay the same; the median one is exported."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base.errors import InvalidInput
from stages.train.training import main
from tests.support.learning import Folders, settings, write_params
from tests.support.tiny_data import expect_error, snapshot

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit  # noqa: E402  (imports Keras)
from stages.train.live_history import OUTPUTS  # noqa: E402  (imports Keras)
from stages.train.seeds.all_seeds import median_seed  # noqa: E402  (imports Keras)

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SEEDS = [0, 7, 4294967295]


class Project:
    """A folder with params.yaml, in which the stage runs."""

    def __init__(self, root: Path, folders: Folders) -> None:
        self.root, self.folders, self.out = root, folders, root / "models" / "dense"

    def train(self, capsys: pytest.CaptureFixture[str], **changes: Any) -> list[str]:
        """Trains the model with these settings, and returns the seeds that were trained, from the log."""
        capsys.readouterr()
        assert main(self.arguments(**changes)) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line.partition(", seed ")[2].partition(":")[0] for line in lines if "training on" in line]

    def arguments(self, **changes: Any) -> list[str]:
        """Returns the arguments of the stage."""
        params = write_params(self.root / "params.yaml", dense=settings(**changes))
        paths = {"--data": self.folders.prepared, "--out": self.out, "--checkpoints": self.root / "checkpoints"}
        pairs = [str(part) for pair in (paths | {"--params": params}).items() for part in pair]
        return ["--model", "dense", *pairs]

    def json(self, name: str) -> Any:
        """Returns the content of a JSON file among the outputs."""
        return json.loads((self.out / name).read_text())


@pytest.fixture
def project(tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, folders)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Path:
    """The outputs of a training with three seeds; tests copy them."""
    root = tmp_path_factory.mktemp("finished")
    assert main(Project(root, folders).arguments(seeds=SEEDS)) == 0
    return root / "models" / "dense"


@pytest.fixture
def trained(project: Project, finished: Path) -> Project:
    """A project with the outputs of a training with three seeds."""
    shutil.copytree(finished, project.out)
    return project


@pytest.mark.farm
def test_each_seed_gives_the_bytes_of_its_own_training(
    trained: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model of a seed is, byte for byte, that of a training with this seed alone."""
    alone = Project(tmp_path / "alone", trained.folders)
    alone.root.mkdir()
    alone.train(capsys, seed=7)
    for name in ("model.keras", "model.onnx", "history.csv"):
        assert (trained.out / "seeds/7" / name).read_bytes() == (alone.out / name).read_bytes()
    record = trained.json("seeds/7/training.json")
    assert {key: record[key] for key in alone.json("training.json")} == alone.json("training.json")
    assert list((alone.out / "seeds").iterdir()) == [] and "seed" not in alone.json("training.json")


@pytest.mark.parametrize("seeds", [SEEDS[1:], pytest.param(SEEDS, marks=pytest.mark.farm)], ids=len)
def test_the_median_seed_is_exported(project: Project, capsys: pytest.CaptureFixture[str], seeds: list[int]) -> None:
    """The exported files are those of the seed with the median validation loss, and training.json says so.

    Of two seeds it is the one with the lower loss.
    """
    assert project.train(capsys, seeds=seeds) == list(map(str, seeds))
    losses = {seed: project.json(f"seeds/{seed}/training.json")["validation"]["loss"] for seed in seeds}
    assert len(set(losses.values())) == len(seeds)  # each seed gives another training
    median = sorted(seeds, key=losses.__getitem__)[(len(seeds) - 1) // 2]
    summary = project.json("training.json")
    assert summary["seed"] == median
    assert {int(seed): scores["loss"] for seed, scores in summary["seeds"].items()} == losses
    assert summary["between_seeds"]["loss"]["mean"] == pytest.approx(sum(losses.values()) / len(seeds))
    metrics = project.json("validation.json")
    assert metrics["validation_loss"] == summary["between_seeds"]["loss"]["mean"]
    assert metrics["validation_loss_deviation"] == pytest.approx(np.std(list(losses.values()), ddof=1))
    for name in set(OUTPUTS) - {"training.json"}:
        assert (project.out / name).read_bytes() == (project.out / "seeds" / str(median) / name).read_bytes()
    assert not list(project.root.rglob("*.finished")) and not list(project.root.rglob("*.checkpoint"))


def test_of_an_even_number_the_lower_middle_is_exported() -> None:
    """Four seeds have no median: the second lowest loss is exported; equal losses are in the order of the seeds."""
    losses = {0: 0.4, 1: 0.1, 2: 0.3, 3: 0.2}
    assert median_seed({seed: {"validation": {"loss": loss}} for seed, loss in losses.items()}) == 3
    assert median_seed({seed: {"validation": {"loss": 0.1}} for seed in (5, 3, 4)}) == 4


@pytest.mark.farm
def test_one_more_seed_trains_one_model(trained: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A fourth seed trains one model; a seed that is no longer named is removed and trains nothing."""
    before = snapshot(trained.out / "seeds")
    assert trained.train(capsys, seeds=[*SEEDS, 1]) == ["1"]
    after = snapshot(trained.out / "seeds")
    assert {name: after[name] for name in before} == before
    assert sorted(trained.json("training.json")["seeds"]) == sorted(map(str, [*SEEDS, 1]))
    assert trained.train(capsys, seeds=SEEDS[1:]) == []
    assert sorted(path.name for path in (trained.out / "seeds").iterdir()) == sorted(map(str, SEEDS[1:]))


@pytest.mark.farm
def test_seeds_set_aside_by_a_run_are_kept(trained: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow run` moves the earlier outputs aside before it starts the stage; they are found there."""
    aside = trained.root / ".inkflow/aside/train@dense/outputs/models"
    aside.mkdir(parents=True)
    trained.out.rename(aside / "dense")
    assert trained.train(capsys, seeds=[*SEEDS, 1]) == ["1"]


@pytest.mark.farm
def test_a_seed_with_a_changed_file_or_other_inputs_is_trained(
    trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of a seed that is damaged or missing costs one training; another parameter costs all."""
    (trained.out / "seeds/7/model.onnx").write_bytes(b"damaged")
    assert trained.train(capsys, seeds=SEEDS) == ["7"]
    (trained.out / "seeds/0/history.csv").unlink()
    (trained.out / "seeds/7/training.json").write_text("[]")
    assert trained.train(capsys, seeds=SEEDS) == ["0", "7"]
    assert trained.train(capsys, seeds=SEEDS, dropout=0.1) == list(map(str, SEEDS))


@pytest.mark.farm
def test_the_same_training_again_trains_all_seeds(trained: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same seeds and inputs the stage runs only if it is forced, and then trains all, to the same bytes."""
    before = snapshot(trained.out)
    assert trained.train(capsys, seeds=SEEDS) == list(map(str, SEEDS))
    assert snapshot(trained.out) == before


@pytest.mark.farm
def test_a_kill_loses_no_finished_seed(
    project: Project, finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interruption the finished seeds are kept, and the seed in progress resumes from its checkpoint."""
    run_epoch = fit.Trainer.run_epoch

    def interrupt(trainer: fit.Trainer, epoch: int) -> Any:
        if (trainer.model.seed, epoch) == (SEEDS[1], 1):
            raise KeyboardInterrupt
        return run_epoch(trainer, epoch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit.Trainer, "run_epoch", interrupt)
        main(project.arguments(seeds=SEEDS))
    capsys.readouterr()
    assert main(project.arguments(seeds=SEEDS)) == 0
    log = capsys.readouterr().out
    assert "dense, seed 0: kept from the interrupted run" in log
    assert "dense, seed 7: resumes from the checkpoint of epoch 1" in log
    assert snapshot(project.out) == snapshot(finished)


def test_a_seed_that_diverges_is_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss that is not finite ends the stage with a sentence that names the seed."""
    changes: dict[str, Any] = {"task": "regression", "values": [0.0, 1e12, 1e12, 1e12], "seeds": [3, 4]}
    changes["optimizer"] = {"name": "sgd", "learning_rate": 10.0}
    code, error = expect_error(main, project.arguments(**changes), capsys)
    assert code == InvalidInput.exit_code and "dense, seed 3: the " in error and "became" in error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0, 1], "seed": 0}, "`seed: 0` and `seeds` are both set, expected one of them"),
        ({"seeds": [1, 1]}, "expected each number once"),
        ({"seeds": []}, "seeds"),
        ({"seeds": 5}, "seeds"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": [2**32]}, "seeds.0"),
        ({"seeds": [True]}, "seeds.0"),
        ({"seeds": ["a"]}, "seeds.0"),
    ],
)
def test_wrong_seeds_are_refused(
    project: Project, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    """Each mistake in `seeds` is one sentence, before any work."""
    code, error = expect_error(main, project.arguments(**changes), capsys)
    assert code == InvalidInput.exit_code and message in error, error
