"""What the project of a model says about its use: gates that it failed, and whether its data were only a stand-in."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.base.digests import GATES, LOCK, REMEDY, change_message, changed_outputs, read_sealed
from stages.base.errors import DataError, ModelError
from stages.base.streams import tell
from stages.predict.classifier import Classifier, open_classifier
from stages.predict.earlier_outputs import KEPT, original, project_of, readable, use_readable
from stages.predict.image_files import escape_unprintable
from stages.predict.model_files import find_model

VERSION_RECORD = "version.json"  # beside the files of a registered model
DIGESTS = "files"  # key of that record: the SHA-256 of each file, by its name


def open_model(model: str, anyway: bool) -> tuple[Classifier, str]:
    """Opens the classifier `model`, the earlier one while it is trained again; warns if its data were a stand-in.

    Args:
        model: the name of a trained model, its folder, or its ONNX file.
        anyway: use it although it failed a quality gate, or is damaged.

    Returns:
        The classifier and the SHA-256 of its file.

    Raises:
        InvalidInput: There is no such model.
        ModelError: The model cannot be used, or a gate failed.
    """

    def use(path: Path) -> tuple[Classifier, str]:
        check_standing(path, anyway)
        return open_classifier(path), file_sha256(path)

    classifier, digest = use_readable(lambda: find_model(model), use)
    if classifier.stand_in_for:
        warning = stand_in_warning(original(classifier.path), classifier.stand_in_for)
        tell(f"warning: {warning}")
    return classifier, digest


def check_standing(path: Path, anyway: bool) -> None:
    """Checks that the model file `path` is undamaged and failed no quality gate; with `anyway`, it warns instead.

    A model that dvc.lock does not record, or without a record of its gates, is not judged.

    Raises:
        ModelError: The file is damaged, or a gate failed; the message names each.
    """
    _check_content(path, anyway)
    failed = list(_failed_gates(path))
    if not failed:
        return
    sentence = escape_unprintable(f"{original(path)}: failed its quality gate {'; and '.join(failed)}")
    if not anyway:
        raise ModelError(f"{sentence}; train a better model, or use this one with --anyway")
    tell(f"warning: {sentence}")


def check_undamaged(path: Path) -> None:
    """Checks that the model file `path` is undamaged; warns if a file beside it is not as dvc.lock records it.

    Raises:
        ModelError: The file is damaged.
    """
    if flaw := _flaw(path):
        raise ModelError("; ".join(flaw))


def _check_content(path: Path, anyway: bool) -> None:
    """Does what `check_undamaged` does; with `anyway`, it warns of a damaged model.

    Raises:
        ModelError: It is damaged, and may not be used `anyway`.
    """
    if flaw := _flaw(path):
        sentence, remedy = flaw
        if not anyway:
            raise ModelError(f"{sentence}; {remedy}, or use the model as it is with --anyway")
        tell(f"warning: {sentence}")


def _flaw(path: Path) -> tuple[str, str] | None:
    """Returns what is wrong with the content of the model file `path`, and what to do; warns of files beside it."""
    damaged, others = _changed_files(path)
    if others:
        tell(f"warning: {escape_unprintable(change_message(others))}; {REMEDY}")
    sentence, remedy = (change_message(damaged), REMEDY) if damaged else _flaw_of_version(path)
    return (escape_unprintable(sentence), remedy) if sentence else None


def stand_in_warning(path: Path, stand_in_for: str) -> str:
    """Returns the sentence about a model that was trained on a stand-in for the data set `stand_in_for`."""
    return escape_unprintable(
        f"{path}: was trained on a stand-in for {stand_in_for}: do not take its answers for those of a model of "
        f"{stand_in_for}"
    )


def registered_as(path: Path) -> dict[str, str]:
    """Returns version and commit of the model file `path`, as VERSION_RECORD beside it has them.

    It is empty without a record, and if the record has no file of this name and content.
    """
    try:
        record = read_sealed(path.with_name(VERSION_RECORD))
        values = {"model_version": str(record["version"]), "model_commit": str(record["commit"])}
        is_same = _recorded_digest(record, path) == file_sha256(path)
    except (OSError, ValueError, LookupError, TypeError, RecursionError, DataError):
        return {}
    return {name: escape_unprintable(value) for name, value in values.items()} if is_same else {}


def _changed_files(path: Path) -> tuple[list[Path], list[Path]]:
    """Returns `path` if it is damaged; and, of it, training.json and the gates' record, those that merely differ."""
    place = original(path.absolute())
    roots = (root for root in place.parents if (root / LOCK).is_file())
    if (root := next(roots, None)) is None:
        return [], []
    wanted = [place, place.with_name("training.json"), root / GATES]
    damaged, others = changed_outputs(root, lambda name: root / name in wanted, readable)
    here = [[Path(os.path.relpath(root / name)) for name in names] for names in (damaged, others)]
    return here[0], here[1]


def _recorded_digest(record: dict[str, Any], path: Path) -> str:
    """Returns the SHA-256 that a VERSION_RECORD has for the file `path`; one of an earlier version has a single one.

    Raises:
        LookupError: It names no such file.
        TypeError: It is damaged.
    """
    return str(record[DIGESTS][path.name] if DIGESTS in record else record["sha256"])


def _flaw_of_version(path: Path) -> tuple[str, str]:
    """Returns why a file in the folder of a registered model, in KEPT, is not that of its record, and what to do.

    Both are empty for a file that is, and for one in another folder or without a record.
    """
    parts, place = path.absolute().parts[-4:-2], path.with_name(VERSION_RECORD)
    if Path(*parts) != KEPT or not place.exists() or registered_as(path):
        return "", ""
    with suppress(OSError, ValueError, TypeError):
        if path.name not in read_sealed(place).get(DIGESTS, [path.name]):
            return f"{path} is no file of this version: {VERSION_RECORD} does not name it", "remove it"
    remedy = "`inkflow predict MODEL@VERSION` fetches it again"
    return f"{path} is damaged: {VERSION_RECORD} records another file", remedy


def _failed_gates(path: Path) -> Iterator[str]:
    """Yields `gate: sentence` of the gates that the model failed, by the records of its project and of this folder.

    A record is about files of the same content; an older one, without digests, about the models of its project. The
    gates of a registered model were checked when it was promoted.
    """
    if registered_as(path):
        return
    own = project_of(path)
    for root in dict.fromkeys((own, Path().absolute())):
        try:
            record = json.loads(readable(root / GATES).read_bytes())
            digests = record.get("models")
            names = {path.parent.name} if digests is None and root == own else _names_by_digest(digests or {}, path)
            for check in record["checks"]:
                if check["status"] == "failed" and check["model"] in names:
                    yield f"{check['gate']}: {check['sentence']}"
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, DataError):
            continue  # a record that cannot be read judges no model


def _names_by_digest(digests: dict[str, str], path: Path) -> set[str]:
    digest = file_sha256(path)
    return {name for name, recorded in digests.items() if recorded == digest}


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hex.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
