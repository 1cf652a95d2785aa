"""Where a data set's file can be had, tried in order until one has it.

    mirror of INKFLOW_MIRROR  ->  the data set's own address  ->  Keras's cache

A source that cannot be reached, or has no such file, gives way to the next one. A source that has
the file, but a wrong one, ends the search: going on would hide a broken mirror, or worse.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stages.base.errors import DataError, SourceUnavailable
from stages.data.config import Dataset
from stages.data.datasets import Arrays, blaming, check_digests, check_stated, read_arrays
from stages.download.digits import load_digits
from stages.download.http_download import Patience, fetch, forget, shown

MIRROR = "INKFLOW_MIRROR"  # names a folder or base address that holds <name>.npz
DOWNLOADS = Path(".inkflow/downloads")  # unfinished downloads wait here for the next attempt


@dataclass(frozen=True)
class Source:
    """One place to look: `place` is an address or a path, `label` says it to people."""

    label: str
    place: str

    @property
    def is_address(self) -> bool:
        """Whether the network is needed."""
        return self.place.lower().startswith(("http://", "https://"))


def obtain(name: str, dataset: Dataset, patience: Patience, downloads: Path = DOWNLOADS) -> Arrays:
    """The four arrays of `dataset`, checked, from the first source that has them.

    Raises:
        DataError: a source has the file, but the file is not what it should be.
        SourceUnavailable: no source has it.
    """
    if dataset.embedded:
        arrays = _checked(load_digits(), dataset)
        print(f"{name}: comes with scikit-learn, no network needed", flush=True)
        return arrays
    missed = []
    for source in sources(name, dataset, os.environ):
        try:
            arrays = _from(source, name, dataset, patience, downloads)
        except SourceUnavailable as reason:
            print(f"{source.label}: not used, {reason}", flush=True)
            missed.append(f"{source.label}: {reason}")
            continue
        print(f"{source.label}: used, its content is as expected", flush=True)
        return arrays
    raise SourceUnavailable(
        f"cannot get {name} ({'; '.join(missed)}): set {MIRROR} to a folder or address that holds "
        f"{name}.npz, or use the digits that need no network: inkflow run --dataset digits"
    )


def sources(name: str, dataset: Dataset, environment: Mapping[str, str]) -> list[Source]:
    """The places to look, in order."""
    found = []
    if mirror := environment.get(MIRROR, "").strip():
        found.append(_mirror(mirror, name))
    if dataset.url:
        found.append(Source(shown(dataset.url), dataset.url))
    home = _expanded(environment.get("KERAS_HOME") or "~/.keras")
    cached = home / "datasets" / f"{name}.npz"
    return [*found, Source(f"Keras's cache {cached}", str(cached))]


def _mirror(mirror: str, name: str) -> Source:
    plain = Source("", mirror)
    if plain.is_address:
        place = f"{mirror.rstrip('/')}/{name}.npz"
        return Source(f"mirror {shown(place)}", place)
    path = _expanded(mirror) / f"{name}.npz"
    return Source(f"mirror {path}", str(path))


def _expanded(path: str) -> Path:
    """`path` with ~ replaced, where this machine's user has a home."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def _from(source: Source, name: str, dataset: Dataset, patience: Patience, downloads: Path) -> Arrays:
    remedy = f"mend or remove that source, or set {MIRROR} to one that holds the right {name}.npz"
    with blaming(source.label, remedy), _local(source, name, dataset, patience, downloads) as path:
        return _checked(arrays_of(path, dataset), dataset)


def arrays_of(path: Path, dataset: Dataset) -> Arrays:
    """The arrays of the npz file `path`, checked by all but their digests.

    Raises:
        DataError: what is wrong, without the name of the file.
    """
    return read_arrays(
        path, dataset.max_bytes, dataset.stated_classes, floats=dataset.pixels is not None, weights=dataset.is_weighted
    )


def _checked(arrays: Arrays, dataset: Dataset) -> Arrays:
    if dataset.sha256:
        check_digests(arrays, dataset.sha256)
    check_stated(arrays, dataset)
    return arrays


@contextmanager
def _local(source: Source, name: str, dataset: Dataset, patience: Patience, downloads: Path) -> Iterator[Path]:
    """The source's file as a path on this machine; a download is removed once it was read."""
    if not source.is_address:
        yield _readable(Path(source.place), dataset.max_bytes)
        return
    part = downloads / f"{name}-{hashlib.sha256(source.place.encode()).hexdigest()[:12]}.part"
    try:
        fetch(source.place, part, dataset.max_bytes, patience)
    except DataError:
        forget(part)
        raise
    try:
        yield part
    finally:
        forget(part)


def _readable(path: Path, max_bytes: int) -> Path:
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except FileNotFoundError as error:
        raise SourceUnavailable("there is no such file") from error
    except OSError as error:
        raise SourceUnavailable(f"cannot be read ({error.strerror})") from error
    if size > max_bytes:
        raise DataError(f"the file has {size:,} bytes, expected at most {max_bytes:,} (max_bytes)")
    return path
