"""Reads the entry of one stage in dvc.lock, and compares two of them: parsing the whole file as YAML is slow."""

import io
import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml.error import YAMLError

from flows.engine.types import split_address
from stages.base.yaml_text import parse_yaml

KEY_STARTS = ("", "'", '"', "? ", "? '", '? "')  # of keys in dvc.lock: YAML marks long ones with a question mark
PLAIN_START = re.compile(r"[\w.@-]*")  # the part of a name that all forms of a key begin with
ALIAS = re.compile(r"[:\-\[{,?] +[&*]\w")
Entry: TypeAlias = "list[str] | dict[str, Any] | None"


def read_entry(root: Path, stage: str) -> Entry:
    """Returns the lines of the entry of `stage` in dvc.lock, or its content if it has aliases; None without one.

    DVC numbers aliases through the whole file: what one of them stands for can be in the entry of another stage.
    """
    file, name = split_address(stage)
    try:
        text = (root / (file or "dvc.yaml")).with_suffix(".lock").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    lines = _find_lines(text, name)
    if lines is None or not any(map(ALIAS.search, lines)):
        return lines
    try:
        content: dict[str, Any] = parse_yaml(text)["stages"][name]
        return content
    except (YAMLError, ValueError, LookupError, TypeError):
        return lines


def is_other(entry: Entry, other: Entry) -> bool:
    """Returns whether two entries differ in their content; the form of their YAML does not count.

    An entry that is no YAML, as half a file has it, differs from none.
    """
    if entry == other:
        return False
    try:
        return _content(entry) != _content(other)
    except (YAMLError, ValueError):
        return False


def _find_lines(text: str, stage: str) -> list[str] | None:
    match = PLAIN_START.match(stage)
    plain = match[0] if match else ""
    for start in KEY_STARTS:
        position = -1
        while (position := text.find(f"\n  {start}{plain}", position + 1)) >= 0:
            end = text.find("\n", position + 1)
            if end >= 0 and _is_key(text[position:end], stage):
                lines = (line.removesuffix("\n") for line in io.StringIO(text[end + 1 :]))
                return [
                    line for line in takewhile(lambda line: not line or line.startswith(("   ", "  : ")), lines) if line
                ]
    return None


def _is_key(line: str, stage: str) -> bool:
    key = line.strip("\n ").removeprefix("? ").removesuffix(":")
    if not key.startswith(("'", '"')):
        return key == stage
    try:
        return bool(parse_yaml(key) == stage)
    except (YAMLError, ValueError):  # a name on several lines, or half a file
        return False


def _content(entry: Entry) -> str:
    """Returns the content of an entry as JSON: NaN is equal to itself there."""
    if isinstance(entry, list):
        text = "\n".join(entry)
        entry = parse_yaml(f"    {text.removeprefix('  : ')}" if text.startswith("  : ") else text)
    return json.dumps(entry, sort_keys=True, default=str)
