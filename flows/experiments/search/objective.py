"""The objective of a search: one validation score in a file that a stage of the trial writes.

Scores on test images, or in files and keys that are named after a test, choose nothing and are refused.
"""

import csv
import math
import re
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.core.params_edit import has_schema
from flows.dvc_repo.params_files import leaves, read_params
from flows.dvc_repo.repository import Repository
from flows.engine.types import Stage
from flows.experiments.search.comparability import changing_loss, changing_samples
from flows.experiments.trial_errors import ScoreNotFinite
from stages.base.errors import InvalidInput
from stages.base.suggestions import did_you_mean

TEST_WORDS = {"test", "tests", "testing", "testset", "testsets", "testdata"}
LOW_WORDS = {
    "loss", "error", "errors", "mae", "mse", "rmse", "deviation", "perplexity", "entropy", "distance", "brier", "nll",
    "crps", "wer", "cer", "fid", "hinge", "bouldin", "logloss",
}  # fmt: skip
HIGH_WORDS = {"accuracy", "acc", "auc", "f1", "precision", "recall", "r2", "prec", "correlation"}
NEGATED = "neg"  # begins the names of scikit-learn's scores that are losses and errors with their signs changed
TABLES = {".csv": ",", ".tsv": "\t"}
FORMATS = {*TABLES, ".json", ".yaml", ".yml", ".toml"}
OWN_FILE, OWN_HISTORY = "validation.json", "history.csv"  # of each model of Inkflow's own pipeline
TEST_STAGE = "evaluate"  # the group of stages of Inkflow's own pipeline that read the test images
EXAMPLE = "a score of the validation part, such as val_loss, or FILE:KEY"


@dataclass(frozen=True)
class Objective:
    """A score: the file and the key in it, the stage that writes the file, and the live history for pruning.

    Attributes:
        file: path of the file; in a table the last row counts.
        key: dotted key, or column of a table.
        stage: the stage with this output.
        history: path and column of a table that grows while the stage runs; None if none is known.
    """

    file: str
    key: str
    stage: str
    history: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """`models/cnn/validation.json:validation_loss`."""
        return f"{self.file}:{self.key}"

    def read(self, project: Path) -> float:
        """Returns the score of the trial that ran in the folder `project`.

        Raises:
            InvalidInput: the file or the key is missing.
            ScoreNotFinite: the score is no finite number.
        """
        path = project / self.file
        if not path.is_file():
            raise InvalidInput(f"--objective {self.name}: {self.stage} wrote no file {self.file}")
        if path.suffix in TABLES:
            rows = list(read_table(path))
            content: dict[str, Any] = {name: _number(text) for name, text in rows[-1].items()} if rows else {}
        else:
            content = dict(leaves(read_params(path)))
        known = [key for key, value in content.items() if isinstance(value, int | float)]
        if self.key not in known:
            hint = f"{did_you_mean(self.key, known)}known: {', '.join(known[:20]) or 'none'}"
            raise InvalidInput(f"--objective {self.name}: {self.file} has no number {self.key!r}; {hint}")
        value = float(content[self.key])
        if not math.isfinite(value):
            raise ScoreNotFinite(self.name, value)
        return value


def find_objective(
    name: str, history: str | None, keys: Collection[str], targets: Sequence[str], repository: Repository
) -> Objective:
    """Returns the objective that `--objective` names.

    Args:
        name: `FILE:KEY`, or the name of a validation score, such as val_loss.
        history: `FILE:COLUMN` of the live history; beside the objective's file if None.
        keys: parameters of the space: they choose among the scores of several models.
        targets: stages of a trial; all when empty.
        repository: the project.

    Raises:
        InvalidInput: there is none, it is ambiguous, or it is a test score.
    """
    _refuse_test_words(name)
    stages = repository.stages(targets)
    is_own = has_schema(repository.root)
    if is_own:
        _refuse_other_samples(name, changing_samples(keys))
    file, colon, key = name.rpartition(":")
    file = str(Path(file)) if colon else ""
    if not colon:
        file, key = _find_score(name, keys, repository, stages)
    stage = _stage_of(file, name, stages)
    if is_own:
        _refuse_test_stages(name, stage, stages)
    _refuse_other_losses(name, changing_loss(keys, is_own=is_own))
    return Objective(file, key, stage.name, _history(history, file, key, stage, is_own=is_own))


def direction_of(name: str, given: str | None) -> str:
    """Returns `minimize` or `maximize`: as given, or as the name of the objective says.

    Raises:
        InvalidInput: the name does not say.
    """
    natural = natural_direction(name)
    if given is None and natural is None:
        raise InvalidInput(f"--objective {name}: is less or more better? add --direction minimize or maximize")
    return given or str(natural)


def natural_direction(name: str) -> str | None:
    """Returns `minimize` or `maximize`, as the name of a score says; None if it does not say.

    The negated losses and errors of scikit-learn, such as neg_log_loss, are maximized. Other names with a negation do
    not say: `negative_recall` is the recall of a class, `negative_loss` may be a loss of negative samples.
    """
    found = set(_words(name.rpartition(":")[2]))
    low, high = bool(found & LOW_WORDS), bool(found & HIGH_WORDS)
    if low == high or "negative" in found or (high and NEGATED in found):
        return None
    return "minimize" if low and NEGATED not in found else "maximize"


def read_table(path: Path, *, is_growing: bool = False) -> Iterator[dict[str, str]]:
    """Yields the rows of a table, of one that is growing the complete ones; none while it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = (line for line in file if not is_growing or line.endswith(("\n", "\r")))
            for row in csv.DictReader(lines, delimiter=TABLES[path.suffix]):
                yield {name: value or "" for name, value in row.items() if name}
    except (OSError, ValueError, csv.Error):
        return


def read_history(path: Path, column: str) -> list[float]:
    """Returns the values of a column so far: rows without one are no steps, as those of training beside validation.

    A last line without its end may be half written, and is left out.
    """
    texts = [row.get(column, "") for row in read_table(path, is_growing=True)]
    return [_number(text) for text in texts if not math.isnan(_number(text)) or text.strip().lower() == "nan"]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _words(text: str) -> list[str]:
    """Returns the words of a name, in small letters: `["val", "loss"]` for `valLoss` and `val_loss`."""
    return re.findall(r"[a-z]+[0-9]*", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text).lower())


def _canonical(text: str) -> list[str]:
    """Returns the words of a name, with the long word for `val`."""
    return ["validation" if word == "val" else word for word in _words(text)]


def _refuse_test_words(name: str) -> None:
    if TEST_WORDS.intersection(word.rstrip(string.digits) for word in _words(name)):
        raise InvalidInput(f"--objective {name}: a test score chooses nothing, it only estimates; expected {EXAMPLE}")


def _refuse_test_stages(name: str, stage: Stage, stages: Sequence[Stage]) -> None:
    """Refuses scores of the test images of Inkflow's own pipeline.

    Raises:
        InvalidInput: the score is one of them.
    """
    by_name = {each.name: each for each in stages}
    pending, seen = [stage.name], set[str]()
    while pending:
        current = pending.pop()
        seen.add(current)
        pending += [upstream for upstream in by_name[current].upstream if upstream in by_name and upstream not in seen]
    if any(each.partition("@")[0] == TEST_STAGE for each in seen):
        raise InvalidInput(
            f"--objective {name}: {stage.name} reads test scores, which choose nothing; expected {EXAMPLE}"
        )


def _refuse_other_losses(name: str, differing: Sequence[str]) -> None:
    if differing and "loss" in _words(name):
        raise InvalidInput(
            f"--objective {name}: {', '.join(differing)} changes the loss function, and values of different functions "
            "cannot be compared; expected another score, such as val_accuracy"
        )


def _refuse_other_samples(name: str, differing: Sequence[str]) -> None:
    if differing:
        raise InvalidInput(
            f"--objective {name}: {', '.join(differing)} changes the validation samples or what is learnt of them, and "
            "scores of different ones cannot be compared; leave it out of --space"
        )


def _find_score(name: str, keys: Collection[str], repository: Repository, stages: Sequence[Stage]) -> tuple[str, str]:
    """Returns file and key of the score `name`: of the metrics files, or of the validation of a model."""
    if has_schema(repository.root):
        files = [output for stage in stages for output in stage.outputs if Path(output).name == OWN_FILE]
        found = {file: "_".join(_canonical(name)) for file in files}
        if not _canonical(name)[:1] == ["validation"]:
            raise InvalidInput(f"--objective {name}: this is no score of the validation part; expected {EXAMPLE}")
        models = {key.split(".")[1] for key in keys if key.startswith("models.") and key.count(".") > 1}
        found = {file: key for file, key in found.items() if not models or models & set(Path(file).parts)}
    else:
        found = _matching(name, repository.metrics())
    if len(found) == 1:
        return next(iter(found.items()))
    some = ", ".join(f"{file}:{key}" for file, key in list(found.items())[:3])
    problem = f"several files have it ({some})" if found else "no metrics file in the workspace has it"
    raise InvalidInput(f"--objective {name}: {problem}; name one as FILE:KEY, or the stages to run")


def _matching(name: str, metrics: Mapping[str, Any]) -> dict[str, str]:
    """Returns the key of the score `name` in each metrics file that has it."""
    found: dict[str, str] = {}
    for file, content in metrics.items():
        for key, value in leaves(content):
            if isinstance(value, int | float) and _canonical(name) in (_canonical(key), _canonical(key.split(".")[-1])):
                _refuse_test_words(f"{file}:{key}")
                found.setdefault(file, key)
    return found


def _stage_of(file: str, name: str, stages: Sequence[Stage]) -> Stage:
    """Returns the stage that writes `file`: its output, or a file in one."""
    path = Path(file)
    if path.suffix not in FORMATS:
        raise InvalidInput(f"--objective {name}: got the file {file}, expected one of {', '.join(sorted(FORMATS))}")
    for stage in stages:
        if any(path.is_relative_to(output) for output in stage.outputs):
            return stage
    known = [output for stage in stages for output in stage.outputs if Path(output).suffix in FORMATS]
    hint = f"{did_you_mean(file, known)}expected FILE:KEY, for example {known[0]}:KEY" if known else "there is none"
    raise InvalidInput(f"--objective {name}: {file} is no output of the stages of a trial; {hint}")


def _history(given: str | None, file: str, key: str, stage: Stage, *, is_own: bool) -> tuple[str, str] | None:
    """Returns the live history: as given, the table of the objective itself, or that of a model of our own."""
    if given is not None:
        path, colon, column = given.rpartition(":")
        if not colon or Path(path).suffix not in TABLES or not column:
            raise InvalidInput(f"--history {given}: expected FILE:COLUMN, with a .csv or .tsv file")
        if not any(Path(path).is_relative_to(output) for output in stage.outputs):
            raise InvalidInput(f"--history {given}: {path} is no output of {stage.name}, which writes the objective")
        _refuse_test_words(given)
        return str(Path(path)), column
    if Path(file).suffix in TABLES:
        return file, key
    beside = str(Path(file).with_name(OWN_HISTORY))
    if beside in stage.outputs:
        words = ("val" if word == "validation" else word for word in _canonical(key))
        return beside, "_".join(words) if is_own else key
    return None
