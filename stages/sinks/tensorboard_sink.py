"""TensorBoard: event files with a point for each epoch, and the parameters for its page HPARAMS.

.inkflow/tensorboard/NAME/KEY/train/events...  .inkflow/tensorboard/NAME/KEY/validation/events...

The names are those of Keras's own callback: `epoch_loss` of train and of validation is one chart.
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from stages.base.errors import InvalidInput
from stages.sinks.state import State, flat

FOLDER, VARIABLE = ".inkflow/tensorboard", "INKFLOW_TENSORBOARD"  # a variable for another folder
KEY_LENGTH = 8
PARTS = {"": "train", "val_": "validation"}


class TensorboardSink:
    """Writes the event files of one training; a training that goes on writes all its epochs again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._shown, self._writers = folder, 0, dict[str, Any]()

    def update(self, state: State) -> None:
        """Writes new epochs, and flushes them."""
        if not state.columns or (not self._writers and not state.rows):
            return
        try:
            self._open(state)
            for row in state.rows[self._shown :]:
                for name, value in zip(state.columns[1:], row.values[1:], strict=True):
                    if math.isnan(value):  # without validation samples
                        continue
                    prefix = "val_" if name.startswith("val_") else ""
                    self._add(
                        PARTS[prefix], f"epoch_{name.removeprefix(prefix)}", value, int(row.values[0]), row.time_s
                    )
                self._shown += 1
            for writer in self._writers.values():
                writer.flush()
        except BaseException:
            self._shown = 0  # the writers do not say what they have lost
            self._writers.clear()
            raise

    def _open(self, state: State) -> None:
        """Creates the event files, in place of those of an earlier attempt at the same training."""
        if self._writers:
            return
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = self._folder / state.name / state.key[:KEY_LENGTH]
        shutil.rmtree(folder, ignore_errors=True)
        self._writers = {part: EventFileWriter(str(folder / part)) for part in PARTS.values()}
        values = {
            key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for key, value in flat(state.parameters)
        }
        summary = hparams_pb(values, trial_id=f"{state.name}-{state.key[:KEY_LENGTH]}")
        self._writers["validation"].add_event(_event(summary, 0, state.rows[0].time_s))

    def _add(self, part: str, tag: str, value: float, step: int, time_s: float) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writers[part].add_event(_event(Summary(value=[Summary.Value(tag=tag, simple_value=value)]), step, time_s))


def _event(summary: Any, step: int, time_s: float) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(summary=summary, step=step, wall_time=time_s)


def connect() -> TensorboardSink:
    """Returns the sink of the folder that the environment names, or of the project's own.

    Raises:
        InvalidInput: TensorBoard is not installed.
    """
    sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # TensorBoard then does without TensorFlow
    try:
        import tensorboard.summary.writer.event_file_writer  # noqa: F401 - slow
    except ImportError as error:
        raise InvalidInput(f"{error}; pip install 'inkflow[tensorboard]'") from error
    return TensorboardSink(Path(os.environ.get(VARIABLE) or FOLDER))
