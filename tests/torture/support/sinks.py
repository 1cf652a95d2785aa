"""Everything that Inkflow writes texts of others into: a list of sinks, each with the doors whose texts reach it.

A new sink is one entry of SINKS; the matrix of doors, sinks and payloads is made from this list.
"""

import argparse
import contextlib
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.ci.comment import _comment_body
from flows.ci.summary import Status, Step, junit, markdown
from flows.cli.check import print_gates
from flows.cli.compare import print_comparison, print_differences
from flows.cli.data import _command
from flows.cli.models.registry import _print_provenance, _print_versions
from flows.cli.output import print_json
from flows.cli.plan import print_table
from flows.cli.sweeps.search import _print_table
from flows.cli.sweeps.table import NumberedDisplay, print_trials
from flows.core import gates
from flows.core.notices import note_once
from flows.core.redaction import masked_lines, say
from flows.edits.yaml_edit import set_entry, set_value
from flows.engine.display.live import LiveDisplay
from flows.engine.display.log_file import LogFile
from flows.engine.display.plain import Display
from flows.engine.display.safe_console import SafeConsole
from flows.engine.types import Outcome, Result, file_name
from flows.experiments.grid import Combination
from flows.experiments.trials import Trial
from flows.registry.provenance import Provenance
from flows.registry.tags import ModelVersion
from flows.retraining.comparison import Comparison, as_lines, as_markdown
from flows.status.parts import Need, Section
from flows.status.parts import Status as ProjectStatus
from flows.tasks.assets import asset_key
from flows.tasks.progress_artifact import _key
from stages.base.errors import InvalidInput, exit_with
from stages.base.shown_text import markdown_text, one_line
from stages.charts.vega import svg
from stages.monitor.picture import picture
from stages.monitor.table import print_record
from stages.watch.record import Record
from tests.torture.support import published, tables
from tests.torture.support.real_run import DOORS, real_run
from tests.torture.support.records import watched

Texts = Mapping[str, str]  # by door
NOW = datetime(2026, 11, 28, tzinfo=UTC)


@dataclass(frozen=True)
class Sink:
    """A place into which texts of others are written.

    Attributes:
        name: for people.
        kind: of its output: a key of `hostile.CHECKS`.
        doors: where the texts come from that reach it.
        write: returns what is written for a text at each door.
        few: how many texts `make test` tries at each door; with 0 it leaves the sink to `make torture`.
    """

    name: str
    kind: str
    doors: tuple[str, ...]
    write: Callable[[Texts], str]
    few: int = 1


def _printed(show: Callable[[], object]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        show()
    return output.getvalue()


def _on_console(show: Callable[[SafeConsole], object], *, is_terminal: bool = True) -> str:
    stream = io.StringIO()
    show(SafeConsole(file=stream, width=200, force_terminal=is_terminal, color_system="truecolor"))
    return stream.getvalue()


def _display(display: Display, texts: Texts) -> None:
    stage = texts["stage"]
    display.started(stage, 1.0)
    display.line(stage, f"runs: {texts['parameter']} changed")
    for line in masked_lines([[texts["output of a stage"]]]):  # as the reader of the pipe divides them
        display.line(stage, line)
    display.result(Result(stage, Outcome.RAN, (texts["parameter"],), location=texts["worker"]))
    display.failure(stage, f"{stage} failed (exit code 1): {texts['error of a stage']}")
    display.not_run(stage, "not run")
    display.close()


def _plain(texts: Texts) -> str:
    stream = io.StringIO()
    _display(Display([texts["stage"]], stream), texts)
    return stream.getvalue()


def _numbered(texts: Texts) -> str:
    stream = io.StringIO()
    display = NumberedDisplay([texts["stage"]])
    display._stream = stream
    _display(display, texts)
    return stream.getvalue()


def _log(texts: Texts) -> str:
    log = LogFile()
    log.write(f"train | {line}" for line in masked_lines([[texts["output of a stage"]]]))
    log.close()
    assert log.path is not None
    return log.path.read_text(encoding="utf-8")


def _plan(texts: Texts) -> str:
    row = {"stage": texts["stage"], "verdict": "run", "reasons": [texts["parameter"]], "expected_s": 1.0}
    row |= {"pool": texts["worker"], "memory": 0, "mutex": [texts["policy"]]}
    return _on_console(lambda console: print_table([row], [texts["file"]], console))


def _gates(texts: Texts) -> dict[str, Any]:
    check = {"model": texts["model"], "gate": texts["gate"], "status": "failed", "sentence": texts["class"]}
    return {"passed": False, "checks": [check], "note": texts["class"], "models": {}}


def _comparison(texts: Texts) -> dict[str, Any]:
    row = {"model": texts["model"], "old": 0.9, "new": 0.8, "difference": -0.1, "low": -0.2, "high": 0.0, "p": 0.1}
    row |= {"corrected_p": 0.1, "verdict": "worse"}
    rest = {"trivial": [{"answer": texts["class"], "score": 0.1, "of": []}], "unchanged": [texts["model"]]}
    return {"headline": texts["class"], "evidence": texts["class"], "models": [row], **rest, "without_counterpart": []}


def _retrained(texts: Texts) -> Comparison:
    return Comparison(_comparison(texts), texts["error of a stage"] or "-", _gates(texts))


def _differences(texts: Texts) -> str:
    row = {"file": "params.yaml", "name": texts["parameter"], "old": texts["value"], "new": 1}
    found = {"parameters": [row], "metrics": [row], "outputs": [{"path": texts["file"], "change": "changed"}]}
    return _on_console(lambda console: print_differences(found, texts["branch"], texts["tag"], console))


def _trials(texts: Texts) -> str:
    trial = Trial(Combination({texts["parameter"]: texts["value"], "b": 1}), texts["experiment"])
    metrics = {0: {texts["metric"]: 0.5, "m": texts["value"]}}
    return _printed(lambda: print_trials([trial], [trial], metrics, [texts["metric"], "m"], texts["metric"]))


def _search(texts: Texts) -> str:
    row = {"trial": 1, "value": 0.5, "seconds": 1.5, texts["parameter"]: texts["value"]}
    return _printed(lambda: _print_table([row, row], [texts["parameter"]]))


def _versions(texts: Texts) -> str:
    trailers = {"Data": texts["tag"], "Scores": "{}"}
    one = ModelVersion(texts["model"], "v1", "0" * 40, NOW, texts["author"], trailers, (texts["tag"],))
    return _printed(lambda: _print_versions([one]))


def _provenance(texts: Texts) -> str:
    entry = {"cmd": texts["command"], "params": {"params.yaml": {texts["parameter"]: texts["value"]}}, "deps": []}
    found = Provenance("0" * 64, texts["file"], texts["stage"], "", (), entry, {"processor": texts["value"]})
    return _printed(lambda: _print_provenance(found))


def _status(texts: Texts) -> ProjectStatus:
    need = Need(f"{texts['deployment']} failed: {texts['error of a stage']}", f"`prefect flow-run logs {texts['run']}`")
    return ProjectStatus(NOW, (Section("runs", (texts["run"], texts["worker"]), {}, (need,)),))


def _steps(texts: Texts) -> Sequence[Step]:
    return [Step("run", Status.FAILED, (texts["error of a stage"], f"`inkflow run {texts['stage']}` failed"))]


def _comment(texts: Texts) -> str:
    path = Path("check.md")
    path.write_bytes(markdown("check", _steps(texts)).encode(errors="replace"))
    return _comment_body([path])


def _yaml_value(texts: Texts) -> str:
    return set_value("a:\n  b: 1 # kept\nc: [1]\n", "a.b", texts["value"])


def _yaml_entry(texts: Texts) -> str:
    return set_entry("datasets:\n  one:\n    title: x\n", "datasets", "two", {"title": texts["data set"], "n": [1]})


def _again(texts: Texts) -> str:
    return shlex.join(_command(argparse.Namespace(name="a", paths=[texts["file"]], class_names=[texts["class"]])))


def _monitored(texts: Texts) -> Record:
    return watched(texts["model"], texts["class"], texts["author"])


def _error(texts: Texts) -> str:
    def fail() -> int:
        raise InvalidInput(f"{one_line(texts['file'])}: {one_line(texts['parameter'])} is unknown")

    return _printed(lambda: exit_with(fail))


OF_A_RUN = ("stage", "parameter", "worker", "output of a stage", "error of a stage")
SINKS: tuple[Sink, ...] = (
    Sink("lines of a run", "terminal", OF_A_RUN, _plain),
    Sink("lines of a sweep", "terminal", OF_A_RUN, _numbered),
    Sink("live display of a run", "terminal", OF_A_RUN,
         lambda texts: _on_console(lambda console: _display(LiveDisplay([texts["stage"]], console), texts))),
    Sink("log of a run", "terminal", ("output of a stage",), _log),
    Sink("plan", "terminal", ("stage", "parameter", "worker", "policy", "file"), _plan),
    Sink("gates", "terminal", ("model", "gate", "class"),
         lambda texts: _on_console(lambda console: print_gates(_gates(texts), console))),
    Sink("comparison of models", "terminal", ("model", "class"),
         lambda texts: _on_console(lambda console: print_comparison(_comparison(texts), console))),
    Sink("comparison of versions", "terminal", ("parameter", "value", "file", "branch", "tag"), _differences),
    Sink("table of a sweep", "terminal", ("parameter", "value", "experiment", "metric"), _trials),
    Sink("table of a search", "terminal", ("parameter", "value"), _search),
    Sink("versions of models", "terminal", ("model", "author", "tag"), _versions),
    Sink("provenance of a model", "terminal", ("file", "stage", "command", "parameter", "value"), _provenance),
    Sink("status", "terminal", ("deployment", "run", "worker", "error of a stage"),
         lambda texts: _printed(lambda: say("\n".join(_status(texts).as_lines())))),
    Sink("notes", "terminal", ("file",), lambda texts: _printed(lambda: note_once(texts["file"]))),
    Sink("commands in a real project", "terminal", DOORS, real_run, few=0),
    Sink("errors", "terminal", ("file", "parameter"), _error),
    Sink("JSON", "terminal", ("value",),
         lambda texts: _printed(lambda: print_json({texts["value"]: [texts["value"]]}))),
    Sink("predictions", "terminal", ("file", "picture", "class"),
         lambda texts: _printed(lambda: tables.predictions(texts))),
    Sink("predictions as CSV", "csv", ("file", "class"), lambda texts: _printed(lambda: tables.predictions_csv(texts))),
    Sink("files that no model could read", "csv", ("file", "picture"), tables.refused_files),
    Sink("trials of a search", "csv", ("parameter", "value", "error of a stage"), tables.trials),
    Sink("monitor", "terminal", ("model", "class", "author"),
         lambda texts: _on_console(lambda console: print_record(_monitored(texts), console))),
    Sink("message of a commit", "terminal", ("model", "class", "gate", "error of a stage"),
         lambda texts: _printed(lambda: say(" ".join("\n".join(as_lines(_retrained(texts))).split("\n"))))),
    Sink("summary of a job", "markdown", ("stage", "error of a stage"),
         lambda texts: markdown("check", _steps(texts))),
    Sink("comment on a request", "markdown", ("stage", "error of a stage"), _comment),
    Sink("text of a request", "markdown", ("model", "class", "gate", "error of a stage"),
         lambda texts: as_markdown(_retrained(texts))),
    Sink("status on Prefect's page", "markdown", ("deployment", "run", "worker", "error of a stage"),
         lambda texts: _status(texts).as_markdown()),
    Sink("scores on Prefect's page", "markdown", ("file", "picture"), published.scores),
    Sink("pictures on Prefect's page", "markdown", ("file",), published.plots),
    Sink("link on Prefect's page", "markdown", ("file",), published.link_of_report),
    Sink("search on Prefect's page", "markdown", ("parameter", "value", "experiment", "metric"), published.search),
    Sink("models on Prefect's page", "table", ("model", "metric"), published.table_of_models),
    Sink("heartbeat of a worker", "table", ("worker", "stage", "error of a stage"), published.heartbeat),
    Sink("name of a flow run", "terminal", ("data set", "stage"), published.name),
    Sink("metrics of a server", "metrics", ("class",), published.metrics),
    Sink("message of a tag", "trailers", ("reason", "class"), published.message_of_a_tag),
    Sink("words of a summary", "markdown", ("class",),
         lambda texts: f"| a | {markdown_text(texts['class'])} |\n|---|---|\n"),
    Sink("JUnit of a job", "xml", ("stage", "error of a stage"), lambda texts: junit("check", _steps(texts))),
    Sink("JUnit of the gates", "xml", ("model", "gate", "class"), lambda texts: gates.junit(_gates(texts))),
    Sink("parameters that --set writes", "yaml", ("value",), _yaml_value),
    Sink("entry that `data add` writes", "yaml", ("data set",), _yaml_entry),
    Sink("picture of the monitor", "svg", ("model", "class", "author"), lambda texts: svg(picture(_monitored(texts)))),
    Sink("command that adds data again", "shell", ("file", "class"), _again),
    Sink("file of a stage", "file name", ("stage",), lambda texts: file_name(texts["stage"])),
    Sink("name of an experiment", "reference", ("parameter", "value"),
         lambda texts: Combination({texts["parameter"]: texts["value"]}).experiment([])),
    Sink("key of an artifact", "reference", ("stage",), lambda texts: _key(texts["stage"])),
    Sink("key of an asset", "terminal", ("file",), lambda texts: asset_key(texts["file"])),
)  # fmt: skip
