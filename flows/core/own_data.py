"""Notices that own data changed: the file of a data set with a `path`, and the files that it was made from.

`.inkflow/own_data.json` keeps for each data set the command that added it, and what its files looked like then. Only
files with another size or time are read again.
"""

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.core.file_lock import is_run_locked
from flows.core.notices import note_once, read_kept
from flows.core.params_edit import load_project_params
from flows.core.project import STATE, make_state_folder
from flows.core.stage_program import run_program
from stages.base.digests import write_sealed
from stages.base.errors import InvalidInput, OutputError
from stages.base.files import exists, is_file, is_folder

if TYPE_CHECKING:  # the schema takes 0.12 s to import
    from stages.params.schema import Params

OWN = Path("data/own")  # npz files of data sets that other forms were converted to
RECORD = STATE / "own_data.json"
BLOCK = 1 << 20


def remember(root: Path, name: str, command: Sequence[str], sources: Sequence[str]) -> None:
    """Records that `command` made the data set `name` from `sources`, which are not watched if one is an address."""
    files = [Path(source) for source in sources]
    record: dict[str, Any] = {}
    if files and all(map(exists, files)):
        seen = {"files": [*sources], "times": _times(files), "content": _content(files)}
        record = {"command": shlex.join(command), "sources": seen}
    _write(root, _read(root) | {name: record})


def check_own_data(params: "Params | None", root: Path) -> None:
    """Compares the file of the chosen data set with params.yaml; notes if the files changed that it was made from.

    Raises:
        InvalidInput: the file has other content than params.yaml records.
        ProgramFailed: the file is no data set that the stage `download` accepts.
    """
    if params is None or params.selected_dataset.path is None:
        return
    name, dataset = params.dataset, params.selected_dataset
    path, record = root / params.selected_dataset.path, _read(root)
    known = record.get(name, {})
    recorded = dataset.sha256.model_dump(exclude_none=True) if dataset.sha256 else {}
    finish_copies(root)
    checked = {"times": _times([path]), "sha256": recorded}
    if is_file(path) and known.get("checked") != checked:
        present = json.loads(run_program("download.source_digests", ["--dataset", name], root))["present"]
        if different := [key for key, value in present.items() if recorded.get(key) != value]:
            again = f"take it as it is now with `inkflow data add {name} {shlex.quote(dataset.path or '')} --replace`"
            digests = f"write its digests there (`python -m stages.download.source_digests --dataset {name}`)"
            raise InvalidInput(
                f"{dataset.path} has other content than datasets.{name}.sha256 in params.yaml records "
                f"({', '.join(different)}): restore the file, or {again if dataset.kind == 'image' else digests}"
            )
        _write(root, record | {name: known | {"checked": checked}})
    if _sources_changed(known.get("sources")):
        note_once(
            f"the files that {name} was made from have changed; the run uses the copy in {dataset.path}; to use them "
            f"as they are now: {known['command']}"
        )


def new_copy(root: Path, name: str, digests: Mapping[str, str]) -> Path:
    """Returns where the copy of a data set with these digests of arrays lies until it takes the place of an older one.

    The name tells whether params.yaml records this copy, without a look into the file.
    """
    text = json.dumps(dict(digests), sort_keys=True)
    return root / OWN / f".{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.new.npz"


def finish_copies(root: Path) -> None:
    """Moves the copies into place that killed `inkflow data add` left in the project at `root`; before any run.

    Raises:
        InkflowError: there are copies, and params.yaml has mistakes.
    """
    if not any((root / OWN).glob(".*.new.npz")) or is_run_locked(root):  # one under way moves its copy itself
        return
    params = load_project_params(root)
    for name, dataset in params.datasets.items() if params else ():
        if dataset.sha256:
            finish_copy(root, name, dataset.sha256.model_dump(exclude_none=True))


def finish_copy(root: Path, name: str, digests: Mapping[str, str]) -> None:
    """Moves the copy with these digests into place, which a killed `inkflow data add` may have left beside it."""
    with suppress(OSError):  # none is there, or the check of the digests reports the older file
        new_copy(root, name, digests).replace(root / OWN / f"{name}.npz")


def _sources_changed(seen: Any) -> bool:
    """Returns whether files are there with other content; files that are gone or cannot be read are no change."""
    with suppress(OSError, TypeError, KeyError):
        files = [Path(path) for path in seen["files"]]
        if files and all(path.exists() for path in files) and _times(files) != seen["times"]:
            return bool(_content(files) != seen["content"])
    return False


def _times(paths: Sequence[Path]) -> str:
    """Returns a digest of names, sizes and times of the files."""
    stats = ((name, path.stat()) for name, path in _files(paths))
    return _digest(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode() for name, stat in stats)


def _content(paths: Sequence[Path]) -> str:
    """Returns a digest of names and content of the files."""
    return _digest(piece for name, path in _files(paths) for piece in _pieces(name, path))


def _pieces(name: str, path: Path) -> Iterator[bytes]:
    yield f"{name}\0{path.stat().st_size}\0".encode()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _files(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yields the files of `paths` and below them, with their names from there, sorted."""
    for path in paths:
        found = sorted(child for child in path.rglob("*") if child.is_file()) if is_folder(path) else [path]
        yield from ((ascii(str(child.relative_to(path.parent))), child) for child in found if exists(child))


def _digest(pieces: Iterator[bytes]) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


def _read(root: Path) -> dict[str, Any]:
    lost = "changes of the files that own data were made from are noticed again after `inkflow data add ... --replace`"
    return read_kept(root / RECORD, lost, _checked) or {}


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the record; a data set with `sources` has a `command`."""
    for known in content.values():
        if "sources" in known:
            shlex.split(known["command"])
    return {name: dict(known) for name, known in content.items()}


def _write(root: Path, content: dict[str, Any]) -> None:
    with suppress(OutputError):  # only speed is lost, and the note
        make_state_folder(root)
        write_sealed(root / RECORD, content)
