"""Where a training stands, an epoch at a time on disk, for the next run to go on after a kill or a power cut.

A file is a line with the SHA-256 of what follows, then an npz file: the state's arrays, those of the best epoch, the
history. Its name holds a key, the hash of all that decides the training's result: nothing else ever reads it.
"""

import hashlib
import io
import json
import os
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

FOLDER = Path(".inkflow/checkpoints")  # outside of what DVC removes before a stage
PARTIAL = ".partial"
KEPT_DAYS = 14  # then a checkpoint that nobody came back for goes

Arrays = Sequence[NDArray[Any]]


class Checkpoint(NamedTuple):
    """Where a training stands at the end of an epoch."""

    history: Sequence[Epoch]
    state: Arrays  # weights, random states, optimizer
    best: Arrays  # weights of the best epoch so far; empty where the last ones are kept
    fit_s: float = 0.0  # that it took so far, in all its pieces


class Checkpoints:
    """The checkpoint of one training, which `name` and the facts in `key` make out; at most one file."""

    def __init__(self, folder: Path, name: str, key: str) -> None:
        self.path = folder / f"{name}-{key[:32]}.checkpoint"

    def load(self) -> Checkpoint | None:
        """The last one saved; None where there is none, or it is damaged, which is said and set aside."""
        try:
            return decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            aside = self.path.with_suffix(".damaged")
            with suppress(OSError):
                self.path.replace(aside)
            print(
                f"warning: the checkpoint {self.path} cannot be used ({error}); it was renamed to {aside.name}, "
                "and the training starts from the beginning",
                file=sys.stderr,
                flush=True,
            )
            return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Put it in place of the last one; a power cut leaves either this one or that one.

        Raises:
            OutputError: the folder is full, read-only, or not a folder.
        """
        temporary = self.path.with_suffix(PARTIAL)  # what a kill leaves is written over by the next run
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
        """Take the file away: the training's outputs are written."""
        for path in (self.path, self.path.with_suffix(PARTIAL)):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def remove_old(folder: Path, days: float = KEPT_DAYS) -> None:
    """Remove what lies in the folder of checkpoints for longer than `days`."""
    oldest = time.time() - days * 24 * 60 * 60
    for path in folder.glob("*-*.*"):
        with suppress(OSError):  # gone meanwhile, or not ours to remove: no reason to stop
            if path.stat().st_mtime < oldest:
                path.unlink()


def key_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of `facts`, which JSON can hold, as hex."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def encode(checkpoint: Checkpoint) -> bytes:
    """Content of a file."""
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
    """What `encode` wrote.

    Raises:
        ValueError: it is not that, to the bit.
    """
    digest, _, packed = content.partition(b"\n")
    if hashlib.sha256(packed).hexdigest().encode() != digest:
        raise ValueError("its content does not match its checksum")
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            found = {kind: _numbered(arrays, kind) for kind in ("state", "best")}
            history = [Epoch(int(line[0]), *map(float, line[1:])) for line in arrays["history"]]
            fit_s = float(arrays["fit_s"])
    except (KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"it does not hold a training's state: {error}") from error
    return Checkpoint(history, found["state"], found["best"], fit_s)


def _numbered(arrays: Mapping[str, NDArray[Any]], kind: str) -> list[NDArray[Any]]:
    count = sum(name.startswith(f"{kind}_") for name in arrays)
    return [arrays[f"{kind}_{number}"] for number in range(count)]
