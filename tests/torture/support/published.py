"""Texts of others in what a flow run, a worker, a server and the registry publish: built as for them, without them."""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optuna.trial import TrialState

from flows.core.errors import StageFailed
from flows.experiments.search.report import _summary
from flows.experiments.search.study import EXPERIMENT
from flows.registry.tags import with_trailers
from flows.tasks.artifacts import METRICS, PAGE, plots_as_markdown, report_artifacts, scores_markdown, search_markdown
from flows.tasks.run_name import run_name
from flows.workers.stage_report import Report, describe_error
from stages.predict.foreign_json import parse_foreign_json
from stages.predict.results import Prediction
from stages.serve.metrics import Metrics

Texts = Mapping[str, str]  # by door


def file_named(text: str) -> str:
    """Returns `text` as the name of a file that is not hidden: no file system takes / and NUL in one."""
    return text.replace("/", "_").replace("\x00", "").lstrip(".")[:80]


def scores(texts: Texts) -> str:
    """Returns the Markdown of a score."""
    path = Path("rejected.csv")
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file).writerows([("name", "reason"), (texts["file"], texts["picture"])])
    return scores_markdown("1 file", Path(texts["file"].replace("\x00", "")), path)


def plots(texts: Texts) -> str:
    """Returns the Markdown of a folder with one picture."""
    (folder := _emptied("plots")).joinpath(f"{file_named(texts['file'])}.png").write_bytes(b"x")
    return plots_as_markdown(folder)


def table_of_models(texts: Texts) -> str:
    """Returns the data of the table of a report."""
    path = _emptied("published") / METRICS
    path.parent.mkdir()
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file).writerows([("model", "test_accuracy"), (texts["model"], texts["metric"])])
    return _data("published")


def link_of_report(texts: Texts) -> str:
    """Returns the link to the page of a report, in a folder with this name."""
    path = _emptied("linked") / file_named(texts["file"]) / PAGE
    path.parent.mkdir(parents=True)
    path.touch()
    return _data(path.parent.parent)


def search(texts: Texts) -> str:
    """Returns the Markdown of a search with one trial."""
    trial = SimpleNamespace(
        number=1, value=0.5, user_attrs={EXPERIMENT: texts["experiment"]}, state=TrialState.COMPLETE
    )
    study: Any = SimpleNamespace(
        definition=SimpleNamespace(direction="maximize", space=[SimpleNamespace(key=texts["parameter"])]),
        trials=lambda *_: [trial],
        settings=lambda _: {texts["parameter"]: texts["value"]},
    )
    objective: Any = SimpleNamespace(name=texts["metric"], key=texts["metric"])
    folder = _emptied("searched")
    text = _summary(study, objective, {}, {texts["parameter"]: 0.5})
    (folder / "summary.md").write_text(text, encoding="utf-8")
    (folder / f"{file_named(texts['metric'])}.png").write_bytes(b"x")
    return search_markdown(folder)


def heartbeat(texts: Texts) -> str:
    """Returns the data of the table of a worker, whose stage has failed."""
    ending, code, words = describe_error(StageFailed(texts["stage"], 1, [texts["error of a stage"]]))
    return Report(texts["worker"], texts["stage"], texts["stage"], 1, ending, code, words).to_table()


def name(texts: Texts) -> str:
    """Returns the name of a flow run."""
    return run_name(texts["data set"], texts["stage"])


def metrics(texts: Texts) -> str:
    """Returns the metrics of a server."""
    counted, label = Metrics(), parse_foreign_json(json.dumps(texts["class"]))  # as from the metadata of a model
    counted.request("/predict", 200, 0.1)
    counted.batch(1, [Prediction("x", label, 0.9, "b", 0.1, True, "x", None, (0.9, 0.1))])
    return counted.text("cnn", "v0.0.1", "0" * 64).decode("utf-8")


def message_of_a_tag(texts: Texts) -> str:
    """Returns the message of a version's tag."""
    return with_trailers("Version of cnn", {"Forced": texts["reason"], "Compared": texts["class"], "MD5": "0" * 32})


def _emptied(folder: str) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir()
    return Path(folder)


def data(artifact: Any) -> str:
    """Returns the data that Prefect's server gets of an artifact, also where a browser has a loop of events."""
    return str(artifact.format(_sync=True))


def _data(root: str | Path) -> str:
    (artifact,) = report_artifacts(Path(root))
    return data(artifact)
