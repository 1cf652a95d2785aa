"""`--objective`: a validation score of the trial; test scores are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.dvc_repo.repository import Repository
from flows.experiments.search.comparability import changing_loss, changing_samples
from flows.experiments.search.objective import Objective, direction_of, find_objective, read_history
from flows.experiments.trial_errors import ScoreNotFinite
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.support.root import ROOT

DENSE = ["models.dense.units"]


def find(name: str, keys: list[str], root: Path, history: str | None = None) -> Objective:
    """Finds an objective among all stages of a project."""
    with Repository(root) as repository:
        return find_objective(name, history, keys, [], repository)


@pytest.fixture(scope="module")
def own() -> Iterator[Repository]:
    """This project's repository."""
    with Repository(ROOT) as repository:
        yield repository


def test_scores_of_this_project(own: Repository) -> None:
    """A validation score is that of the exported model, with the history of the model whose parameters are searched."""
    found = find_objective("val_loss", None, DENSE, [], own)
    assert (found.name, found.stage) == ("models/dense/validation.json:validation_loss", "train@dense")
    assert found.history == ("models/dense/history.csv", "val_loss")
    assert find_objective("val_accuracy", None, DENSE, [], own).key == "validation_accuracy"
    assert find_objective("models/cnn/training.json:validation.loss", None, DENSE, [], own).stage == "train@cnn"


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("val_loss", ["prepare.normalise"], "several files have it"),
        ("test_loss", DENSE, "a test score chooses nothing"),
        ("loss", DENSE, "no score of the validation part"),
        ("evaluation/dense/metrics.json:accuracy", DENSE, "evaluate@dense reads test scores"),
        ("reports/metrics.json:validation_loss", DENSE, "report reads test scores"),
        ("models/dense/valid.json:loss", DENSE, "did you mean 'models/dense/validation.json'?"),
        ("params.yaml:dataset", DENSE, "is no output of the stages"),
        ("models/dense/model.onnx:x", DENSE, "expected one of"),
        ("val_loss", ["models.dense.label_smoothing"], "changes the loss function"),
        ("val_accuracy", [*DENSE, "prepare.validation"], "prepare.validation changes the validation samples"),
        ("models/dense/history.csv:val_loss", ["dataset", "prepare.samples.1"], "dataset, prepare.samples.1 changes"),
        ("val_accuracy", ["models.dense.positive"], "what is learnt of them"),
    ],
)
def test_refused_here(own: Repository, name: str, keys: list[str], message: str) -> None:
    """Scores that choose nothing, or cannot be found or compared, are refused in one sentence."""
    with pytest.raises(InvalidInput) as raised:
        find_objective(name, None, keys, [], own)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.fixture
def other(toy: Toy) -> Toy:
    """A project of somebody else, whose scores lie in a metrics file and in a folder."""
    toy.write(
        {
            "dvc.yaml": "stages:\n  fit:\n    cmd: 'true'\n    metrics: [m.json: {cache: false}]\n    outs: [live]\n",
            "m.json": '{"auc": {"train": 1.0, "valid": 0.5, "test": 0.4}, "nothing": "x", "bad": NaN}',
        }
    )
    return toy


def test_scores_of_other_projects(other: Toy) -> None:
    """A key of a metrics file, a file in an output folder, and a live history beside them are found by name."""
    found = find("m.json:auc.valid", [], other.folder, "live/auc.tsv:auc")
    assert (found.stage, found.read(other.folder), found.history) == ("fit", 0.5, ("live/auc.tsv", "auc"))
    assert find("valid", [], other.folder).name == "m.json:auc.valid"
    other.write({"live/a.csv": "step,val_auc\n1,0.5\n2,\n3,0.75\n"})
    table = find("live/a.csv:val_auc", [], other.folder)
    assert (table.read(other.folder), table.history) == (0.75, ("live/a.csv", "val_auc"))
    assert read_history(other.folder / "live/a.csv", "val_auc") == [0.5, 0.75]
    other.write({"live/a.csv": "step,val_auc\n1,0.5\n2,nan\n3,7"})
    assert str(read_history(other.folder / "live/a.csv", "val_auc")) == "[0.5, nan]"
    assert read_history(other.folder / "absent.csv", "a") == []


TEST_NAMES = ("m.json:auc.test", "test_scores/m.json:auc", "testAuc", "auc-test", "test1.json:auc", "m.json:test2_acc")


@pytest.mark.parametrize("name", [*TEST_NAMES, "testset.json:acc", "m.json:TESTAcc"])
def test_test_scores_of_other_projects(other: Toy, name: str) -> None:
    """A file or key that is named after a test is refused in every project; `latest` is no such name."""
    with pytest.raises(InvalidInput, match="a test score chooses nothing"):
        find(name, [], other.folder)
    with pytest.raises(InvalidInput, match="no metrics file in the workspace has it"):
        find("latest", [], other.folder)


def test_losses_of_other_projects(other: Toy) -> None:
    """A loss is refused if the search changes its function, also in another file, but not by a penalty."""
    for key in ("loss", "a.b.loss", "conf.yaml:loss", "conf.yaml:a.label_smoothing"):
        with pytest.raises(InvalidInput, match=f"{key} changes the loss function"):
            find("live/a.json:val_loss", [key], other.folder)
        assert find("live/a.json:val_auc", [key], other.folder).key == "val_auc"
    assert find("live/a.json:val_loss", ["fit.l2"], other.folder).key == "val_loss"


def test_samples_of_other_projects(other: Toy) -> None:
    """What `prepare.seed` or `dataset` mean in another project is not known, so a search over them is not refused."""
    for key in ("prepare.seed", "dataset", "models.a.values", "models.a.arguments.penalty"):
        assert find("live/a.json:val_loss", [key], other.folder).key == "val_loss"


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        *(
            (key, True)
            for key in ("prepare", "prepare.seed", "prepare.samples.0", "datasets.own.path", "params.yaml:dataset")
        ),
        *((key, True) for key in ("models.a.task", "models.a.positive.0", "models.a.values")),
        *((key, False) for key in ("prepare.crop", "prepare.samples_a", "models.a", "models.task", "models.a.units")),
        *((key, False) for key in ("x.yaml:prepare.seed", "a.dataset", "report.samples")),
    ],
)
def test_keys_that_change_the_validation_samples(key: str, changes: bool) -> None:
    """Keys of the split, with the sections above and elements below them, and the targets of a model."""
    assert changing_samples([key]) == [key] * changes


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        *((f"models.mine.{key}", True) for key in ("build", "arguments", "arguments.penalty", "arguments.a.b", "l2")),
        *((key, False) for key in ("models.mine", "models.arguments", "arguments.penalty", "x.yaml:models.a.build")),
    ],
)
def test_own_networks_may_have_penalties_of_their_own(own: Repository, key: str, changes: bool) -> None:
    """A search over an own network's function or its arguments needs a score that is no loss, as in the report."""
    assert changing_loss([key]) == [key] * changes
    if changes:
        with pytest.raises(InvalidInput, match=f"{key} changes the loss function"):
            find_objective("models/cnn/training.json:validation.loss", None, [key], [], own)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("auc.vald", "has no number 'auc.vald'; did you mean 'auc.valid'?"),
        ("nothing", "has no number"),
    ],
)
def test_scores_that_are_missing(other: Toy, key: str, message: str) -> None:
    """A score that is missing or is no number is one sentence with the keys that exist; one is not finite."""
    with pytest.raises(InvalidInput) as raised:
        find(f"m.json:{key}", [], other.folder).read(other.folder)
    assert message in str(raised.value)
    with pytest.raises(ScoreNotFinite, match="bad is nan, which cannot be compared"):
        find("m.json:bad", [], other.folder).read(other.folder)


def test_histories_that_are_no_table(other: Toy) -> None:
    """A history is FILE:COLUMN, a table among the outputs of the stage with the objective."""
    for history in ("live", "live/a.json:a", "m.csv:a"):
        with pytest.raises(InvalidInput, match="--history"):
            find("m.json:auc.valid", [], other.folder, history)


def test_direction() -> None:
    """Losses and errors are minimized, accuracies maximized; other names need a direction."""
    assert (direction_of("f:val_loss", None), direction_of("f:val.auc", None)) == ("minimize", "maximize")
    assert direction_of("f:val_loss", "maximize") == "maximize"
    with pytest.raises(InvalidInput, match="add --direction"):
        direction_of("f:x", None)


@pytest.mark.parametrize("name", ["neg_log_loss", "neg_root_mean_squared_error", "val.neg_brier_score", "valNegMae"])
def test_negated_losses(name: str) -> None:
    """Losses and errors that scikit-learn negates are maximized; names of which this is not sure need a direction."""
    assert direction_of(f"negative/loss.json:{name}", None) == "maximize"
    for unsure in ("negative_recall", "negative_log_likelihood_loss", "neg_auc"):
        with pytest.raises(InvalidInput, match="add --direction"):
            direction_of(f"f:{unsure}", None)
        assert direction_of(f"f:{unsure}", "minimize") == "minimize"
