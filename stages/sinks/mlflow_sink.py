"""MLflow: a run for each training, named after its model, with parameters, metrics of each epoch, and model files."""

import getpass
import json
import math
import os
import re
import socket
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from stages.base.errors import InvalidInput
from stages.base.shown_text import shown_url
from stages.sinks.state import State, flat

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # else its page may show views for chats
CONNECT_S = 3.0
BATCH = 100  # parameters or epochs of a request: MLflow takes 100 parameters and 1000 metrics
Item = TypeVar("Item")
SETTINGS = {  # unless the environment has them: MLflow itself would wait for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
SOURCES = ("stages", "custom", "dvc.yaml", "params.yaml")
KEY, MODEL_DIGEST = "inkflow.training", "inkflow.model_sha256"  # tags that identify a training and its model


class MlflowSink:
    """Writes one run; a training that goes on from a checkpoint continues its run."""

    def __init__(self, client: Any, experiment: str, start_s: float) -> None:
        self._client, self._experiment, self._start_ms = client, experiment, int(start_s * 1000)
        self._run, self._logged, self._has_parameters = "", 0, False  # `_logged`: number of the last epoch

    def update(self, state: State) -> None:
        """Logs new epochs, and at the end files and status."""
        if state.status != "FINISHED" and not state.columns:
            return  # a report that has not been written
        if not self._run:
            self._run = self._find_run(state) or self._create_run(state)
        if not self._has_parameters:
            for batch in _batches([*flat(state.parameters)]):
                self._log(params=[(key, _text(value)) for key, value in batch])
            self._has_parameters = True
        for rows in _batches([row for row in state.rows if row.values[0] > self._logged]):
            self._log(
                metrics=[
                    (key, value, int(row.time_s * 1000), int(row.values[0]))
                    for row in rows
                    for key, value in zip(state.columns[1:], row.values[1:], strict=True)
                    if not math.isnan(value)  # without validation samples
                ]
            )
            self._logged = int(rows[-1].values[0])
        if state.status:
            self._finish(state)

    def _find_run(self, state: State) -> str:
        """Returns the unfinished run of the training that is resumed, empty without one; finds its last epoch."""
        if not state.is_resumed:
            return ""
        query = f"tags.`{KEY}` = '{state.key}' and attributes.status != 'FINISHED'"
        runs = self._client.search_runs([self._experiment_id()], query, max_results=1)
        if not runs:
            return ""
        run_id = str(runs[0].info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        history = self._client.get_metric_history(run_id, state.columns[1])
        self._logged = max((metric.step for metric in history), default=0)
        return run_id

    def _create_run(self, state: State) -> str:
        tags = {**state.tags, **_source_tags(), **({KEY: state.key} if state.key else {})}
        run = self._client.create_run(self._experiment_id(), self._start_ms, tags, state.name)
        return str(run.info.run_id)

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is None:
            with suppress(_mlflow_error()):  # another training has just created it
                return str(self._client.create_experiment(self._experiment, tags=EXPERIMENT_TAGS))
            experiment = self._client.get_experiment_by_name(self._experiment)
        return str(experiment.experiment_id)

    def _finish(self, state: State) -> None:
        folder = "report" if state.models else "model"
        for file in map(Path, state.files):
            self._client.log_artifact(self._run, str(file), folder)
            if file.suffix == ".onnx":
                self._client.set_tag(self._run, MODEL_DIGEST, _digest(file))
            if state.models and file.name == "models.json":
                self._log_scores(state.models, json.loads(file.read_text(encoding="utf-8")))
        self._client.set_terminated(self._run, status=state.status)

    def _log_scores(self, models: Mapping[str, str], scores: Mapping[str, Mapping[str, Any]]) -> None:
        """Logs the scores of the report in its own run, and the test scores in the runs that trained the models."""
        for name, values in scores.items():
            numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
            self._log(metrics=[(f"{name}.{key}", value, 0, 0) for key, value in numbers.items()])
            tests = [(key, value, 0, 0) for key, value in numbers.items() if key.startswith("test_")]
            query = f"tags.`{MODEL_DIGEST}` = '{_digest(Path(models[name]))}'"
            for run in self._client.search_runs([self._experiment_id()], query):
                self._log(metrics=tests, run_id=str(run.info.run_id))

    def _log(self, run_id: str = "", **entries: list[tuple[Any, ...]]) -> None:
        from mlflow.entities import Metric, Param  # slow

        kinds = {"metrics": Metric, "params": Param}
        named = {kind: [kinds[kind](*entry) for entry in values] for kind, values in entries.items()}
        self._client.log_batch(run_id or self._run, **named)


def connect() -> MlflowSink:
    """Returns the sink of the server that the environment names.

    Raises:
        InvalidInput: MLFLOW_TRACKING_URI is not set, nothing answers there, or MLflow is not installed.
    """
    start_s, uri = time.time(), os.environ.get(URI)
    if not uri:
        raise InvalidInput(f"{URI} is not set; set it to the address of the MLflow server")
    _check_reachable(uri)
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    try:
        from mlflow import MlflowClient  # slow
    except ImportError as error:
        raise InvalidInput(f"{error}; pip install 'inkflow[mlflow]'") from error
    return MlflowSink(MlflowClient(uri), os.environ.get(EXPERIMENT) or _project_name(), start_s)


def _check_reachable(uri: str) -> None:
    """Connects to the server, or to the proxy before it: MLflow would wait longer for a server that is away."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    proxy = None if urllib.request.proxy_bypass(parts.hostname or "") else urllib.request.getproxies().get(parts.scheme)
    target = urlsplit(proxy) if proxy else parts
    try:
        address = (target.hostname or "", target.port or {"https": 443}.get(target.scheme, 80))
        socket.create_connection(address, CONNECT_S).close()
    except ValueError as error:  # its text has a part of the address, which can be one of a password
        what = f"the address of the proxy for {parts.scheme}://" if proxy else URI
        raise InvalidInput(f"{what} is no URL; correct it, such as by %2F for a / in a password") from error
    except OSError as error:
        raise InvalidInput(f"{shown_url(proxy or uri)} cannot be reached ({error})") from error


def _git() -> Any:
    """Returns the repository as an object of GitPython, on which MLflow depends; None outside of one."""
    with suppress(Exception):  # no git, no repository, no commit
        import git

        return git.Repo(search_parent_directories=True)
    return None


def _source_tags() -> dict[str, str]:
    """Returns user, commit and state of code and parameters, under the names that MLflow's page shows."""
    tags = {"mlflow.source.name": _project_name()}
    with suppress(Exception):  # as above: fewer tags then
        tags["mlflow.user"] = getpass.getuser()
        with _git() as repository:
            tags["mlflow.source.git.commit"] = repository.head.commit.hexsha
            changes = repository.git.status("--porcelain", "--", *map(os.path.abspath, SOURCES))
            tags["mlflow.source.git.dirty"] = str(bool(changes)).lower()
    return tags


def _project_name() -> str:
    """Returns the last part of the address of origin, else the name of the folder."""
    address = ""
    with suppress(Exception), _git() as repository:
        address = shown_url(repository.remotes.origin.url)
    return re.split(r"[/:]", address.rstrip("/").removesuffix(".git"))[-1] or Path.cwd().name


def _mlflow_error() -> type[Exception]:
    from mlflow.exceptions import MlflowException  # slow

    return MlflowException  # type: ignore[no-any-return]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
