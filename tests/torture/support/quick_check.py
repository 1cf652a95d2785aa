"""What is looked at after each kill and each fault: it costs less than a second, `CrashProject.flaws` a run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.torture.support.crash_project import END_S
from tests.torture.support.leftovers import OBJECTS, is_object, left_running, wrong_names


@dataclass
class QuickCheck:
    """Looks at the DVC cache, dvc.lock and the processes of the project in `folder`, whatever state its outputs have.

    Attributes:
        wait_s: so long may processes of a run that is over take to end.
    """

    folder: Path
    wait_s: float = END_S
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict, init=False)  # time and size of objects read before

    def flaws(self, *, is_over: bool = True) -> str:
        """Returns what is wrong, or nothing; with a run that is not over, its processes may be there."""
        found = [*wrong_names(self._new_objects()), *self._lock_file()]
        if is_over:
            found += left_running(self.folder, self.wait_s)
        return "\n".join(found)

    def _new_objects(self) -> Iterator[Path]:
        """Yields the objects that are new or changed since the last look; a temporary file beside them is none yet."""
        for path in filter(is_object, (self.folder / OBJECTS).glob("*/*")):
            status = path.stat()
            seen = status.st_mtime_ns, status.st_size
            if self._seen.get(path) != seen:
                self._seen[path] = seen
                yield path

    def _lock_file(self) -> Iterator[str]:
        path = self.folder / "dvc.lock"
        if path.exists():
            try:
                content = YAML(typ="safe").load(path)
            except (YAMLError, UnicodeDecodeError) as error:
                yield f"dvc.lock cannot be parsed: {error}"
            else:
                if not isinstance(content, dict):
                    yield f"dvc.lock has no entries: {content!r}"
