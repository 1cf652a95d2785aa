"""The model that is served, and its exchange for another one while requests are answered."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, InvalidInput
from stages.base.files import parse_json
from stages.predict.classifier import Classifier, open_classifier
from stages.predict.earlier_outputs import original, readable, use_readable
from stages.predict.foreign_json import parse_foreign_json
from stages.predict.image_arrays import RejectedInput
from stages.predict.model_standing import check_standing, file_sha256, registered_as
from stages.predict.results import Result

FILE = "model.onnx"
POLL_S = 0.5
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 60.0  # before a model that could not be opened is tried again; each pause doubles
UNREGISTERED = "workspace"  # the version of a model that is not in the registry


@dataclass(frozen=True)
class ServedModel:
    """An open model, and what its answers say about it.

    Attributes:
        classifier: the model.
        version: its version in the registry, else `workspace`.
        commit: the version's commit; empty without one.
        sha256: of its file.
        card: what its training recorded; empty if that is not at hand.
    """

    classifier: Classifier
    version: str
    commit: str
    sha256: str
    card: dict[str, Any]

    @property
    def identity(self) -> dict[str, str]:
        """What every answer carries."""
        commit = {"model_commit": self.commit} if self.commit else {}
        return {"model_version": self.version, "model_sha256": self.sha256} | commit

    def answers(self, pixels: NDArray[np.float32]) -> list[Result]:
        """Returns a prediction for each sample of `pixels` (n, *shape), in the scale 0..255.

        Raises:
            DataError: a sample has values that are too large for the model's arithmetic.
            ModelError: the model fails.
        """
        answers = list[Result]()
        for item in self.classifier.answers_or_refusals(pixels):
            if isinstance(item, RejectedInput):
                raise DataError(f"a sample {item.reason}")
            answers.append(item)
        return answers


def open_served_model(folder: Path, *, anyway: bool = False) -> ServedModel:
    """Opens the model in `folder` and asks it once, so that the first request does not wait.

    All that is known of the model is about one file, also if a run replaces it meanwhile.

    Raises:
        InvalidInput: there is no model, it cannot be used, or it failed a quality gate.
    """
    path = original(folder / FILE if folder.is_dir() else folder)
    return use_readable(lambda: readable(path), lambda found: _open(found, anyway=anyway))


def _open(path: Path, *, anyway: bool) -> ServedModel:
    """Opens the model in the file `path`; `use_readable` does it again if a run replaces the file meanwhile."""
    check_standing(path, anyway)
    classifier, registered = open_classifier(path), registered_as(path)
    try:
        card = parse_foreign_json(path.with_name("training.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        card = {}
    model = ServedModel(
        classifier,
        registered.get("model_version", UNREGISTERED),
        registered.get("model_commit", ""),
        file_sha256(path),
        card if isinstance(card, dict) else {},
    )
    model.answers(np.zeros((1, *classifier.shape), np.float32))
    return model


def read_source(source: Path) -> tuple[Path, str]:
    """Returns the folder of the model to serve, which a JSON file may name, and the digest that the file names.

    Raises:
        InvalidInput: the file names no folder.
    """
    if source.suffix != ".json":
        return source, ""
    try:
        content = parse_json(source.read_text(encoding="utf-8"))
        return Path(str(content["folder"])), str(content.get("sha256", ""))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidInput(f'{source}: names no folder of a model; expected {{"folder": PATH}}') from error


@dataclass
class _Failure:
    """A model that could not be opened.

    Attributes:
        source: the folder and the digest, as the source names them.
        message: why; it is logged once.
        pause_s: seconds from this failure to the next try.
        left_s: how many of them are left.
    """

    source: tuple[Path, str]
    message: str
    pause_s: float = FIRST_PAUSE_S
    left_s: float = FIRST_PAUSE_S

    def waits(self, found: tuple[Path, str]) -> bool:
        """Counts a look, which comes every POLL_S; returns True if `found` is not tried at this one."""
        self.left_s -= POLL_S
        return found == self.source and self.left_s > 0

    def again(self, message: str) -> "_Failure":
        """Returns the failure of the next try of the same model."""
        pause_s = min(MAX_PAUSE_S, 2 * self.pause_s)
        return _Failure(self.source, message, pause_s, pause_s)


class ModelSlot:
    """Holds the model; `follow` exchanges it when the source names another folder."""

    def __init__(self, source: Path, *, anyway: bool = False) -> None:
        """Opens the first model.

        Raises:
            InvalidInput: it cannot be used.
        """
        self._source, self._anyway = source, anyway
        self._opened = read_source(source)
        self.model = open_served_model(self._opened[0], anyway=anyway)

    async def follow(
        self, log: Callable[[str], None], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        """Looks for another model until it is cancelled; one that cannot be used is reported, and the old one stays.

        It is tried again, at once if the source named the old model meanwhile, else after pauses.

        Args:
            log: is called with each exchange, and with each other reason why a model is not used.
            sleep: waits for some seconds until the next look.
        """
        failure: _Failure | None = None
        while True:
            await sleep(POLL_S)
            found = self._opened
            try:
                found = read_source(self._source)
                if found == self._opened:
                    failure = None
                    continue
                if failure and failure.waits(found):
                    continue
                self.model = await asyncio.to_thread(open_served_model, found[0], anyway=self._anyway)
            except Exception as error:  # noqa: BLE001 - the server goes on with the model that it has
                failure = self._failed(found, str(error), failure, log)
                continue
            self._opened, failure = found, None
            log(f"now serving {self.model.version} ({self.model.sha256[:12]})")

    def _failed(
        self, found: tuple[Path, str], message: str, before: _Failure | None, log: Callable[[str], None]
    ) -> _Failure:
        """Returns the failure of `found`; logs it, unless it failed `before` with the same message."""
        same = before if before and before.source == found else None
        if same is None or same.message != message:
            log(f"the model in {found[0]} is not used, {self.model.version} stays: {message}")
        return same.again(message) if same else _Failure(found, message)
