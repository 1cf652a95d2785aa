"""The flow `score`: a folder of images in, a Parquet table out, as a batch job that a schedule may start."""

import shlex
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.core.redaction import mask_logs
from flows.engine.processes.command_runner import CommandRunner
from flows.engine.types import Command
from flows.tasks.failure_state import failed
from stages.base.errors import InkflowError

mask_logs()


@flow(name="score", persist_result=False)
def score(model: str, folder: str = "inbox", out: str = "scores/scores.parquet", raw: bool = False) -> State[Any]:
    """Classify the images of a folder; files that were scored before are passed over, bad ones are listed beside.

    Args:
        model: name of a trained model, or path of its ONNX file.
        folder: images, arrays, and folders of them.
        out: Parquet file to write, or to add to; bad files are listed in the .errors.csv file beside it.
        raw: take pixels as they are, of the model's size, instead of centring digits as MNIST's are.
    """
    logger = get_run_logger()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        logger.info(line)

    words = ["python", "-m", "stages.predict.score", f"--model={model}", f"--folder={folder}", f"--out={out}"]
    try:
        CommandRunner(Path()).run(Command("score", (shlex.join([*words, *(["--raw"] if raw else [])]),), "."), say)
    except InkflowError as error:
        logger.error(str(error))
        return failed(error)
    return Completed(message=said[-1].removeprefix("score: "))
