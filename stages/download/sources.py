"""Fetches the file of a data set from the first source that has it.

    mirror of INKFLOW_MIRROR  ->  the address in params.yaml  ->  Keras's cache

A data set with a `path` is read from that file of the project, and from the mirror where the file is not.

If a source cannot be reached or has no such file, the next one is tried. If a source has an invalid file, the download
fails, because a fallback would hide a broken or malicious mirror.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stages.base.errors import DataError, SourceUnavailable
from stages.base.shown_text import shown_text, shown_url
from stages.data.config import Dataset
from stages.data.datasets import Arrays, check_digests, check_shape_and_range, error_context, read_arrays
from stages.data.groups import read_own_groups
from stages.download.digits import load_digits
from stages.download.http_download import READ_TIMEOUT_S, fetch, remove_part

MIRROR = "INKFLOW_MIRROR"  # environment variable: a folder or base address that holds <name>.npz
PROJECT = "INKFLOW_PROJECT"  # environment variable: the folder of the project, also where stages run in a clone of it
DOWNLOADS = Path(".inkflow/downloads")  # part files of unfinished downloads


@dataclass(frozen=True)
class Source:
    """One source: `location` is an address or a path, `label` is its name in messages."""

    label: str
    location: str


def fetch_arrays(
    name: str,
    dataset: Dataset,
    read_timeout_s: float = READ_TIMEOUT_S,
    downloads: Path = DOWNLOADS,
    *,
    with_groups: bool = False,
) -> Arrays:
    """Returns the arrays of `dataset` from the first source that has them, after checking them.

    Args:
        name: the data set's name.
        dataset: its section in params.yaml.
        read_timeout_s: largest time without data, in seconds.
        downloads: folder of unfinished downloads.
        with_groups: whether the groups in the file are read, if it has some.

    Raises:
        DataError: a source has an invalid file.
        SourceUnavailable: no source has the file.
    """
    if dataset.embedded:
        arrays = _checked(load_digits(), dataset)
        print(f"{name}: included in scikit-learn, no network needed", flush=True)
        return arrays
    failures = []
    for source in list_sources(name, dataset, os.environ):
        remedy = f"fix or remove this source, or set {MIRROR} to one that holds the right {name}.npz"
        if dataset.path:
            digests = f"write its digests into params.yaml: python -m stages.download.source_digests --dataset {name}"
            again = f"take it as it is now: inkflow data add {name} {dataset.path} --replace"
            remedy = f"restore the file, or {again if dataset.kind == 'image' else digests}"
        try:
            with (
                error_context(source.label, remedy),
                local_file(source, name, dataset.max_bytes, read_timeout_s, downloads) as path,
            ):
                arrays = _checked(read_source(path, dataset, with_groups=with_groups), dataset)
        except SourceUnavailable as error:
            print(shown_text(f"{source.label}: not used, {error}"), flush=True)
            failures.append(f"{source.label}: {error}")
            continue
        print(shown_text(f"{source.label}: used, its content is as expected"), flush=True)
        return arrays
    raise SourceUnavailable(f"cannot get {name} ({'; '.join(failures)}): {_remedy_without_source(name, dataset)}")


def _remedy_without_source(name: str, dataset: Dataset) -> str:
    if dataset.path:
        return (
            f"restore the file (`dvc pull {dataset.path}` if DVC has it) or write it again with "
            f"`inkflow data add {name} ... --replace`"
        )
    return (
        f"set {MIRROR} to a folder or address that holds {name}.npz, or use the digits, which need no network: inkflow "
        "run --dataset digits"
    )


def list_sources(name: str, dataset: Dataset, environment: Mapping[str, str]) -> list[Source]:
    """Returns the sources of the data set's file in the order in which they are tried."""
    if dataset.path:
        path, mirror = Path(dataset.path), environment.get(MIRROR, "").strip()
        if not path.exists():
            path = Path(environment.get(PROJECT, "")) / path
        return [Source(dataset.path, str(path)), *([_mirror(mirror, f"{name}.npz")] if mirror else [])]
    return file_sources(f"{name}.npz", dataset.url, environment)


def file_sources(file: str, url: str | None, environment: Mapping[str, str]) -> list[Source]:
    """Returns the sources of the file with the name `file`, in the order in which they are tried."""
    sources = []
    if mirror := environment.get(MIRROR, "").strip():
        sources.append(_mirror(mirror, file))
    if url:
        sources.append(Source(shown_url(url), url))
    home = _expand_user(environment.get("KERAS_HOME") or "~/.keras")
    cached = home / "datasets" / file
    return [*sources, Source(f"Keras's cache {cached}", str(cached))]


def _mirror(mirror: str, file: str) -> Source:
    if _is_url(mirror):
        url = f"{mirror.rstrip('/')}/{file}"
        return Source(f"mirror {shown_url(url)}", url)
    path = _expand_user(mirror) / file
    return Source(f"mirror {path}", str(path))


def _is_url(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def _expand_user(path: str) -> Path:
    """Replaces ~ in `path`, if the user has a home folder."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def read_source(path: Path, dataset: Dataset, *, with_groups: bool) -> Arrays:
    """Reads the arrays of the npz file `path` and checks all but their digests, shape and range.

    Groups are read if `with_groups` is true; they have to be there if params.yaml has their digests.

    Raises:
        DataError: the file is invalid; the message does not name it.
    """
    arrays = read_arrays(
        path,
        dataset.max_bytes,
        dataset.class_count,
        floats=dataset.pixels is not None,
        weights=dataset.has_weights,
        kind=dataset.kind,
    )
    return read_own_groups(arrays, path, dataset.max_bytes, dataset.recorded_groups) if with_groups else arrays


def _checked(arrays: Arrays, dataset: Dataset) -> Arrays:
    if dataset.sha256:
        check_digests(arrays, dataset.sha256)
    check_shape_and_range(arrays, dataset)
    return arrays


@contextmanager
def local_file(source: Source, name: str, max_bytes: int, read_timeout_s: float, downloads: Path) -> Iterator[Path]:
    """Yields the path of the source's file on this machine. A download is removed at the end of the block.

    Raises:
        DataError: the file is larger than `max_bytes`; the message does not name it.
        SourceUnavailable: the source cannot be reached or has no such file.
        OutputError: the download cannot be written.
    """
    if not _is_url(source.location):
        path = Path(source.location)
        _check_readable(path, max_bytes)
        yield path
        return
    part = downloads / f"{name}-{hashlib.sha256(source.location.encode()).hexdigest()[:12]}.part"
    try:
        fetch(source.location, part, max_bytes, read_timeout_s)
    except DataError:
        remove_part(part)
        raise
    try:
        yield part
    finally:
        remove_part(part)


def _check_readable(path: Path, max_bytes: int) -> None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would block
            raise SourceUnavailable("is no regular file")
        path.open("rb").close()
    except FileNotFoundError as error:
        raise SourceUnavailable("there is no such file") from error
    except OSError as error:
        raise SourceUnavailable(f"cannot be read ({error.strerror})") from error
    if status.st_size > max_bytes:
        raise DataError(f"the file has {status.st_size:,} bytes, expected at most {max_bytes:,} (max_bytes)")
