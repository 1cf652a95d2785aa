"""What an export replaces: an earlier one of its format alone."""

from pathlib import Path

from stages.base.errors import InvalidInput
from stages.base.files import require_replaceable
from stages.model.export_formats import FORMATS

SAVED_MODEL_FILES = ("saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra")
LITERT_IDENTIFIER = b"TFL3"  # bytes 4 to 7 of the file: the identifier of its FlatBuffers schema


def check_target(path: Path, export_format: str) -> None:
    """Checks that `path` is free, or has an export of the same format, which is replaced.

    Raises:
        InvalidInput: it is a file or folder of another kind, or cannot be read.
    """
    try:
        if export_format == "saved_model":
            require_replaceable(path, SAVED_MODEL_FILES)
        elif path.is_dir():
            raise InvalidInput(f"{path}: is a folder; name a file in it, such as {path / FORMATS[export_format]}")
        elif path.exists() and not _is_litert(path):
            raise InvalidInput(f"{path}: is no LiteRT file, and would be overwritten; name another path")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}); name another path") from error


def _is_litert(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == LITERT_IDENTIFIER
