"""Scores a folder of images as a Prefect flow: a batch job that writes a Parquet table."""

import shlex
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.core.redaction import mask_logs
from flows.core.stage_program import program_command
from flows.engine.processes.command_runner import CommandRunner
from flows.engine.types import Command
from flows.registry.address import model_folder
from flows.status.renewal import renews_status
from flows.tasks.artifacts import publish_scores, publishing
from flows.tasks.drift_events import send_alarms
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_flow
from flows.tasks.run_name import name_run
from stages.base.errors import InkflowError

mask_logs()


@own_flow("score")
@renews_status
def score(
    model: str,
    folder: str = "inbox",
    out: str = "scores/scores.parquet",
    raw: bool = False,
    anyway: bool = False,
    watch: bool = True,
) -> State[Any]:
    """Classify the images of a folder; files that were scored before are skipped, unreadable ones are listed.

    Args:
        model: name of a trained model, MODEL@STAGE or MODEL@VERSION of the registry, or path of an ONNX file.
        folder: folder with images, arrays and further folders of them.
        out: Parquet file (.parquet) to write or extend; unreadable files are listed in the .errors.csv file beside it.
        raw: use pixels unchanged, in the size of the model, instead of centring digits like those of MNIST.
        anyway: use the model although it failed a quality gate.
        watch: compare the images with those of the training; an alarm sends the event `inkflow.drift`.
    """
    logger = get_run_logger()
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        logger.info(line)

    try:
        path = model_folder(model)
    except InkflowError as error:
        logger.error(str(error))
        return failure_state(error)
    words = [f"--model={path}", f"--folder={folder}", f"--out={out}"]
    words += [f"--{name}" for name, is_set in (("raw", raw), ("anyway", anyway), ("no-watch", not watch)) if is_set]
    command = Command("score", (shlex.join(program_command("predict.score", words)),), ".")
    try:
        CommandRunner(Path()).run(command, on_line)
    except InkflowError as error:
        logger.error(str(error))
        return failure_state(error)
    counts, rejected = lines[-1].removeprefix("score: "), Path(out).with_suffix(".errors.csv")
    name_run(model, counts)
    with publishing("the numbers are", logger.warning):
        publish_scores(counts, Path(out), rejected)
    if watch:
        try:
            send_alarms(Path())
        except InkflowError as error:
            logger.warning(str(error))
    return Completed(message=counts if ", 0 could not" in counts else f"{counts}, see {rejected}")
