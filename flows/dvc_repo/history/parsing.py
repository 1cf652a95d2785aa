"""Parses dvc.lock, parameters and metrics of old versions; parts that many versions share are parsed once."""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import PurePosixPath
from typing import Any

from dvc.utils.serialize import loads_yaml
from ruamel.yaml.error import YAMLError

from flows.dvc_repo.change_detection import folder_hash
from flows.dvc_repo.lock.lock_text import EMPTY, LockText

TOP_KEY = re.compile(r"^(?=[^\s#\-])", re.MULTILINE)
WHOLE = re.compile(r"(^|[:\-\[{,?] *)[&*]\w|^---|^ *\?|<<:|^\t", re.MULTILINE)  # YAML that cannot be divided
INNER_KEY = re.compile(r"^  (?=[^\s#\-])", re.MULTILINE)
PARAMS = re.compile(r"^    params:\n((?:      .*\n|\n)*)", re.MULTILINE)
FILES = re.compile(r"^    (deps|outs):\n((?:    - .*\n|      .*\n)*)", re.MULTILINE)
PLAIN_HEAD = re.compile(r"  \S.*:\n    cmd:.*\n(?:    - .*\n|      .*\n)*")
LINE = re.compile(r"    (?:- |  )(\w+): ([\w./][^#:'\"&*\n]*)\n")
HASHES = ("md5", "etag", "checksum", "version_id")
MAX_LEAVES = 5000  # of a file with parameters or metrics; further parameters are one value
MAX_COUNTED = 100_000  # parameters of a file that count at all
FURTHER = "further parameters"


class Unreadable(ValueError):
    """A file of an old version cannot be parsed; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A stage in dvc.lock: hashes of dependencies and outputs by path.

    Attributes:
        params: as written in dvc.lock: equal for equal parameters.
        forms: the form of each hash, by path; DVC 2 has another MD5 of text files than DVC 3.
        counts: the number of files in each folder, by path.
    """

    command: str
    deps: Mapping[str, str]
    outs: Mapping[str, str]
    params: str
    forms: Mapping[str, str]
    counts: Mapping[str, int]


@lru_cache(maxsize=4096)
def parse_lock(content: bytes) -> Mapping[str, Entry]:
    """Returns the entries of a dvc.lock by the name of the stage.

    Raises:
        Unreadable: it is not YAML, or has a merge conflict.
    """
    text = _text(content)
    lock = LockText.parse(text)
    if lock is not None:
        return {name: _entry(name, entry) for name, entry in lock.entries.items()}
    stages = _mapping(_load(text), "dvc.lock").get("stages") or {}
    return {str(name): _as_entry(item, "") for name, item in _mapping(stages, "stages").items()}


@cache
def _entry(name: str, text: str) -> Entry:
    """Returns the entry with this text; the values of its parameters, most of the text, are not parsed."""
    found = PARAMS.search(text)
    params, rest = found[1] if found else "", PARAMS.sub("", text)
    head = FILES.sub("", rest)
    plain_files = {kind: _plain_items(lines) for kind, lines in FILES.findall(rest)}
    if None not in plain_files.values() and PLAIN_HEAD.fullmatch(head):
        return _of_files(head, plain_files.get("deps"), plain_files.get("outs"), params)
    stages = _mapping(_mapping(_load(EMPTY + rest), "dvc.lock").get("stages"), "stages")
    return _as_entry(next(iter(stages.values()), None), params)


def _plain_items(lines: str) -> list[dict[str, str]] | None:
    """Returns dependencies or outputs in the plain form that DVC writes; None where they need a parser of YAML."""
    found: list[dict[str, str]] = []
    position = 0
    for match in LINE.finditer(lines):
        if match.start() != position:
            return None
        position = match.end()
        if lines[match.start() + 4] == "-":
            if match[1] != "path":
                return None
            found.append({})
        if found:
            found[-1].setdefault(match[1], match[2].strip())
    return found if position == len(lines) else None


def _as_entry(content: Any, params: str) -> Entry:
    entry = _mapping(content, "a stage of dvc.lock")
    command = entry.get("cmd")
    lines = [str(line) for line in command] if isinstance(command, list) else [str(command or "")]
    return _of_files("\n".join(lines), entry.get("deps"), entry.get("outs"), params or str(entry.get("params") or ""))


def _of_files(command: str, deps: Any, outs: Any, params: str) -> Entry:
    sides = [
        {str(item["path"]): item for item in items if _is_file(item)} if isinstance(items, list) else {}
        for items in (deps, outs)
    ]
    deps_hashes, outs_hashes = ({path: _hash(item) for path, item in side.items()} for side in sides)
    files = sides[0] | sides[1]
    forms = {path: _form(item) for path, item in files.items()}
    counts = {path: int(item["nfiles"]) for path, item in files.items() if str(item.get("nfiles")).isdecimal()}
    return Entry(command, deps_hashes, outs_hashes, params, forms, counts)


def _is_file(item: Any) -> bool:
    return isinstance(item, Mapping) and "path" in item


def _hash(item: Mapping[Any, Any]) -> str:
    return next((str(item[key]) for key in HASHES if item.get(key)), "") or _folder_hash(item)


def _form(item: Mapping[Any, Any]) -> str:
    """Returns which kind of hash an item has: two files can be compared by hashes of one form alone."""
    key = next((key for key in HASHES if item.get(key)), HASHES[0])
    return f"{key} {item.get('hash', '')}"


def _folder_hash(item: Mapping[Any, Any]) -> str:
    """Returns the hash that DVC gives a folder, from its `files`, which remotes with versions have in its place."""
    try:
        files = {str(file["relpath"]): str(file["md5"] or "") for file in item.get("files") or ()}
    except (LookupError, TypeError):
        return ""
    return folder_hash(files) if files and all(files.values()) else ""


def parse_text(content: bytes, name: str) -> Mapping[Any, Any]:
    """Returns the mapping in a YAML file, whose name is `name` in messages.

    Raises:
        Unreadable: it is not YAML, or no mapping.
    """
    return _mapping(_load(_text(content)), name)


def parse_values(path: str, content: bytes) -> Any:
    """Returns the content of a file with parameters or metrics: YAML, JSON or TOML by its suffix.

    Raises:
        Unreadable: it cannot be parsed, or has another format.
    """
    suffix = PurePosixPath(path).suffix
    text = _text(content)
    try:
        if suffix == ".json":
            return json.loads(text)
        if suffix == ".toml":
            return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(_short(error)) from error
    if suffix not in (".yaml", ".yml"):
        raise Unreadable(f"files {suffix or 'without a suffix'} are not read")
    return _load(text) if WHOLE.search(text) else _load_sections(text, TOP_KEY)


def _load_sections(text: str, key: re.Pattern[str]) -> Any:
    """Parses YAML section by section, since versions share most of them; as a whole where it cannot be divided."""
    starts = [match.start() for match in key.finditer(text)]
    if not starts or (text[: starts[0]].strip() and not text[: starts[0]].lstrip().startswith("#")):
        return _load(text)
    sections = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    try:
        parsed = [_load_section(section) if key is TOP_KEY else _load(section) for section in sections]
    except Unreadable:
        return _load(text)
    keys = [name for part in parsed if isinstance(part, Mapping) for name in part]
    if len(keys) != len(parsed) or len(set(map(str, keys))) < len(keys):
        return _load(text)
    return {name: value for part in parsed for name, value in part.items()}


def _load_section(text: str) -> Any:
    """Parses a section of a file; its own sections one by one if it is a mapping."""
    header, _, body = text.partition("\n")
    if re.fullmatch(r"\w+: *(#.*)?", header) and INNER_KEY.match(body):
        return {header.partition(":")[0]: _load_sections(body, INNER_KEY)}
    return _load(text)


def _load(text: str) -> Any:
    """Parses YAML as DVC does.

    Raises:
        Unreadable: it is not YAML.
    """
    content, problem = _loaded(text)
    if problem:
        raise Unreadable(problem)
    return content


@lru_cache(maxsize=20_000)
def _loaded(text: str) -> tuple[Any, str]:
    """Returns the content of a YAML text and an empty text, or None and what is wrong with it."""
    try:
        return loads_yaml(text), ""
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError, AssertionError) as error:
        return None, _short(error)


def leaves(content: Any, limit: float = MAX_LEAVES) -> dict[str, Any]:
    """Returns the first `limit` values in `content` by dotted key; lists of plain values are values, as `[64, 64]`."""
    found: dict[str, Any] = {}
    _add_leaves(content, "", found, limit)
    return found


def params_of(content: Any) -> dict[str, Any]:
    """Returns the parameters in `content` by dotted key; those after the first 5,000 are one value, with a digest."""
    values = list(leaves(content, MAX_COUNTED).items())
    found, rest = dict(values[:MAX_LEAVES]), values[MAX_LEAVES:]
    if rest:
        digest = hashlib.sha256(json.dumps(rest).encode()).hexdigest()
        found[FURTHER] = f"{len(rest):,} (SHA-256 {digest[:12]})"
    return found


def _add_leaves(content: Any, key: str, found: dict[str, Any], limit: float) -> None:
    if len(found) >= limit:
        return
    if isinstance(content, Mapping) and content:
        for name, value in content.items():
            _add_leaves(value, f"{key}.{name}" if key else str(name), found, limit)
    elif isinstance(content, list) and any(isinstance(item, Mapping | list) for item in content):
        for number, value in enumerate(content):
            _add_leaves(value, f"{key}.{number}" if key else str(number), found, limit)
    elif key:
        found[key] = plain(content)


def plain(value: Any) -> Any:
    """Returns a value as JSON can hold it: dates and numbers that are not finite become text."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value) if not isinstance(value, Mapping) else {}


def _mapping(content: Any, name: str) -> Mapping[Any, Any]:
    if isinstance(content, Mapping):
        return content
    if content is None:
        return {}
    raise Unreadable(f"{name}: got {type(content).__name__}, expected a mapping")


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("it is not UTF-8") from error
    if text.startswith("<<<<<<< ") or "\n<<<<<<< " in text:
        raise Unreadable("it has a merge conflict")
    return text


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(("NOTE", "#"))]
    return "; ".join(lines[:2])[:200] or type(error).__name__
