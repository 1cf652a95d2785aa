"""Checkpoints: the state of a training after its last epoch, on disk, to resume from after a kill or a power failure.

A file is a line with the SHA-256 of the rest, then an npz file: the arrays of the training state, the weights of the
best epoch, the history. Its name has a key, the hash of everything that decides the training's result: no other
training reads it.
"""

import hashlib
import io
import json
import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import OutputError
from stages.train.progress import Epoch

DEFAULT_FOLDER = Path(".inkflow/checkpoints")  # outside of the outputs, which DVC removes before a stage
TEMPORARY_SUFFIX = ".partial"
MAX_AGE_DAYS = 14
STEM = r"[a-z][a-z0-9_]{0,39}-[0-9a-f]{32}"  # of all that a training makes in the folder: name of the model, key
FILE = re.compile(rf"{STEM}\.(checkpoint|damaged|partial)")
FINISHED = re.compile(rf"{STEM}\.finished|\.{STEM}\.finished\.(new|old)")  # folders, those of `replacing_folder` too

Arrays = Sequence[NDArray[Any]]


class Checkpoint(NamedTuple):
    """The state of a training at the end of an epoch."""

    history: Sequence[Epoch]
    state: Arrays  # weights, random states, optimizer
    best: Arrays  # weights of the best epoch so far; empty if the model keeps the last ones
    fit_s: float = 0.0  # duration so far, over all resumed runs


class CheckpointFile:
    """The checkpoint of one training, at most one file, identified by the training's `name` and `key`."""

    def __init__(self, folder: Path, name: str, key: str) -> None:
        self.path = folder / f"{name}-{key[:32]}.checkpoint"

    def load(self) -> Checkpoint | None:
        """Returns the last checkpoint saved, or None if there is none.

        A damaged file gives None too: it is renamed, with a warning on standard error that says where it is now.
        """
        try:
            return decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            message = f"the checkpoint {self.path} cannot be used ({error}), {self._put_aside()}"
            print(f"warning: {message}; the training starts from the beginning", file=sys.stderr, flush=True)
            return None

    def _put_aside(self) -> str:
        """Renames the file, which is damaged, and returns what became of it."""
        damaged = self.path.with_suffix(".damaged")
        try:
            self.path.replace(damaged)
        except OSError as error:
            return f"and cannot be renamed ({error.strerror})"
        return f"and was renamed to {damaged.name}"

    def save(self, checkpoint: Checkpoint) -> None:
        """Replaces the last checkpoint atomically: a power failure leaves the old or the new one, whole.

        Raises:
            OutputError: the folder is full, read-only, or not a folder.
        """
        temporary = self.path.with_suffix(TEMPORARY_SUFFIX)  # a fixed name: the next run overwrites a leftover
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(encode(checkpoint))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OutputError(self.path, error) from error

    def remove(self) -> None:
        """Removes the file, once the training's outputs are written."""
        for path in (self.path, self.path.with_suffix(TEMPORARY_SUFFIX)):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def remove_old(folder: Path, days: float = MAX_AGE_DAYS) -> None:
    """Removes checkpoints, and folders of finished seeds, of `folder` that are older than `days`.

    All else in `folder`, which the user may have named, stays.
    """
    oldest = time.time() - days * 24 * 60 * 60
    for path in folder.glob("*-*.*"):
        with suppress(OSError):  # removed by another process, or owned by another user
            is_folder = path.is_dir()
            if (FINISHED if is_folder else FILE).fullmatch(path.name) and path.stat().st_mtime < oldest:
                shutil.rmtree(path) if is_folder else path.unlink()


def checkpoint_key(inputs: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of `inputs`, a JSON-serialisable mapping, as hex."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def encode(checkpoint: Checkpoint) -> bytes:
    """Returns the content of a checkpoint file."""
    content = io.BytesIO()
    arrays = {
        **{f"state_{number}": array for number, array in enumerate(checkpoint.state)},
        **{f"best_{number}": array for number, array in enumerate(checkpoint.best)},
    }
    history = np.array([tuple(epoch) for epoch in checkpoint.history], np.float64)
    np.savez(content, allow_pickle=False, history=history, fit_s=checkpoint.fit_s, **arrays)
    packed = content.getvalue()
    return hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed


def decode(content: bytes) -> Checkpoint:
    """Returns the checkpoint that `encode` wrote.

    Raises:
        ValueError: the content is damaged or not a checkpoint.
    """
    digest, _, packed = content.partition(b"\n")
    if hashlib.sha256(packed).hexdigest().encode() != digest:
        raise ValueError("its content does not match its checksum")
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            state, best = (_numbered_arrays(arrays, kind) for kind in ("state", "best"))
            history = [Epoch(int(line[0]), *map(float, line[1:])) for line in arrays["history"]]
            fit_s = float(arrays["fit_s"])
    except (KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"it does not hold a training's state: {error}") from error
    return Checkpoint(history, state, best, fit_s)


def _numbered_arrays(arrays: Mapping[str, NDArray[Any]], kind: str) -> list[NDArray[Any]]:
    count = sum(name.startswith(f"{kind}_") for name in arrays)
    return [arrays[f"{kind}_{number}"] for number in range(count)]
