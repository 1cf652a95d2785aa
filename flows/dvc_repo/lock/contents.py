"""The content of a dependency or output as dvc.lock and run-cache entries record it: a hash and an executable bit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dvc_data.hashfile.hash_info import HashInfo

from flows.engine.planning.stage_facts import FileHash, Hashes


@dataclass(frozen=True)
class Content:
    """A recorded content; it is false for a dependency or output without a record."""

    info: HashInfo  # its name is another one for what DVC 2 recorded
    is_executable: bool  # False for a folder: DVC does not record the bits of the files in it

    def __bool__(self) -> bool:
        return bool(self.info)

    @property
    def hash(self) -> FileHash:
        """The hash with the bit; an empty text if there is none."""
        return FileHash(str(self.info.value) if self.info else "", is_executable=self.is_executable)


Contents = Mapping[str, Content]  # by path


def content_of(entry: Any) -> Content:
    """Return the recorded content of a dependency or output."""
    return Content(entry.hash_info or HashInfo(), bool(entry.meta and entry.meta.isexec))


def hashes_of(contents: Contents) -> Hashes:
    """Return the hash of each content, with its executable bit."""
    return {path: content.hash for path, content in contents.items()}
