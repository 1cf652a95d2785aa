"""Reads and writes files that people edit: ends of lines, permissions and links to the file are kept."""

import re
import shutil
from pathlib import Path

from stages.base.errors import InvalidInput
from stages.base.files import replacing

LONE_LF = re.compile(r"(?<!\r)\n")


def read_edited(path: Path) -> str:
    """Returns the text of a file with its own ends of lines.

    Raises:
        InvalidInput: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}; expected a text file") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text; save it as UTF-8") from error


def write_edited(path: Path, text: str) -> None:
    """Writes `text` as it is, atomically; a link stays, and the file that it leads to is written.

    Raises:
        OutputError: the disk is full or read-only.
    """
    write_edited_bytes(path, text.encode())


def write_edited_bytes(path: Path, content: bytes) -> None:
    """Writes `content` as `write_edited` does, for files in any encoding."""
    target = path.resolve()
    with replacing(target) as temporary:
        temporary.write_bytes(content)
        if target.exists():
            shutil.copymode(target, temporary)


def with_ends_of(text: str, changed: str) -> str:
    """Returns `changed` with CRLF at the ends of lines if `text` has no other ones."""
    is_crlf = "\r\n" in text and not LONE_LF.search(text)
    return LONE_LF.sub("\r\n", changed) if is_crlf else changed
