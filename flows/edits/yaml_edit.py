"""Changes single values in a YAML text and keeps every other byte, comments and columns included."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from os import PathLike
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from flows.edits.edited_file import with_ends_of
from flows.edits.yaml_document import Document, is_identical
from flows.edits.yaml_nodes import end_of, entry_starts, is_block, value_start, with_node, with_pair
from stages.base.errors import InvalidInput
from stages.base.suggestions import unknown_name_message

PLAIN = re.compile(r"[A-Za-z_][\w./+-]*")  # text without quotes, except the words that YAML reads as another type
NEW_NAME = re.compile(r"[^\W\d][\w-]*|0|[1-9]\d{0,8}")
NOT_YAML = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # which JSON leaves as they are
SHORT = 100  # characters of a mapping on one line
MAX_REASON = 200  # characters of a parser's message
NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def set_value(text: str, key: str, value: Any) -> str:
    """Returns the YAML `text` with `value` at the dotted `key`; adds the last part of the key if it is missing.

    Raises:
        InvalidInput: a parent of the key does not exist, and the message lists the keys that do; the last part of the
            key cannot be a new name; the value is that of an anchor, so that others would change too; the value cannot
            be written, or not without another change of the document; or `text` is not YAML.
    """
    value = _writable(key, value)
    return _checked(f"--set {key}", text, key.split("."), value, lambda: _with_value(text, key, value))


def has_key(text: str, key: str) -> bool:
    """Returns whether the YAML `text` has the dotted `key`; True if it is not YAML, which `set_value` reports."""
    try:
        node = _root(text, key)
        for name in key.split("."):
            node, _ = _child(text, node, name, key)
    except InvalidInput:
        return False
    except (YAMLError, ValueError, RecursionError):
        return True
    return True


@contextmanager
def _valid(action: str) -> Iterator[None]:
    """Raises InvalidInput for a parser's error in the block."""
    try:
        yield
    except (YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
        raise InvalidInput(f"{action}: params.yaml is not valid YAML, or would not be: {reason}") from error


def set_entry(text: str, section: str, name: str, entry: dict[str, Any]) -> str:
    """Returns the YAML `text` with the mapping `entry` as `section.name`, in lines of its own.

    An entry of that name is changed key by key, with its comments, unless it has keys that `entry` has not: then its
    lines are replaced.

    Raises:
        InvalidInput: the section does not exist, the entry cannot be written without another change of the document, or
            `text` is not YAML.
    """
    entry = _writable(section, entry)
    action = f"{section}.{name}"
    return _checked(action, text, [section, name], entry, lambda: _with_entry(text, section, name, entry))


def _checked(action: str, text: str, path: Sequence[str], value: Any, edit: Callable[[], str]) -> str:
    """Returns the text that `edit` returns; raises InvalidInput unless it is the document `text` with `value`."""
    with _valid(action):
        document = Document(text)
        changed = with_ends_of(text, edit())
        if not document.is_changed_to(changed, path, value):
            raise InvalidInput(
                f"{action}: the text of params.yaml cannot be changed there without other changes of its values; edit "
                "the file by hand"
            )
    return changed


def _writable(key: str, value: Any) -> Any:
    """Returns `value` as plain values that YAML has; a date becomes text, which the schema then checks."""
    if isinstance(value, Mapping):
        return {_writable_scalar(key, name): _writable(key, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(key, item) for item in value]
    return _writable_scalar(key, value)


def _writable_scalar(key: str, value: Any) -> Any:
    if isinstance(value, date | PathLike):
        return str(value)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # of a subclass too, as of NumPy
            return kind(value)
    if value is None:
        return None
    raise InvalidInput(
        f"--set {key}: a value of the type {type(value).__name__} cannot be written; expected a number, a text, true, "
        "false, null, a list or a mapping"
    )


def _with_entry(text: str, section: str, name: str, entry: dict[str, Any]) -> str:
    node, _ = _child(text, _root(text, section), section, section)
    if not isinstance(node, MappingNode) or node.flow_style or not node.value:
        return _with_value(text, f"{section}.{name}", entry)
    old = next((pair for pair in node.value if str(pair[0].value) == name), None)
    if old is None:
        indent = " " * node.value[0][0].start_mark.column
        return with_pair(text, node, _block_text(name, entry, indent).removeprefix(indent))
    if is_block(old[1]) and _has_all_keys(entry, old[1]):
        for key, value in entry.items():
            is_nested = isinstance(value, dict) and any(str(child.value) == key for child, _ in old[1].value)
            pairs = {f"{key}.{inner}": item for inner, item in value.items()} if is_nested else {key: value}
            for path, item in pairs.items():
                text = _with_value(text, f"{section}.{name}.{path}", item)
        return text
    start = old[0].start_mark
    end = end_of(text, old[1], value_start(text, old[0]))
    return text[: start.index] + _block_text(name, entry, " " * start.column).lstrip() + text[end:]


def _has_all_keys(entry: Any, node: Node) -> bool:
    """Returns whether `entry` has all keys of `node`, and of the mappings in it."""
    return not isinstance(node, MappingNode) or (
        isinstance(entry, dict)
        and all(str(key.value) in entry and _has_all_keys(entry[str(key.value)], value) for key, value in node.value)
    )


def _block_text(name: str, value: Any, indent: str) -> str:
    """Returns `name: value` as lines below each other, with short mappings on one line."""
    flow = f"{indent}{name}: {_flow_text(value)}"
    if not isinstance(value, dict) or (len(flow) <= SHORT and indent):
        return flow
    return "\n".join([f"{indent}{name}:", *(_block_text(key, item, f"{indent}  ") for key, item in value.items())])


def _with_value(text: str, key: str, value: Any) -> str:
    *parents, last = key.split(".")
    node = _root(text, key)
    for name in parents:
        node, _ = _child(text, node, name, key)
    if isinstance(node, MappingNode) and last not in _names(node):
        if not NEW_NAME.fullmatch(last) or last.lower() in NOT_TEXT:
            raise InvalidInput(
                f"--set {key}: there is no key {last!r}, and it cannot be a new one: expected a letter, then letters, "
                "digits, _ and -"
            )
        return with_pair(text, node, f"{last}: {_flow_text(value)}")
    old, start = _child(text, node, last, key)
    if is_identical(Document(text).value_at(key.split(".")), value):
        return text
    return with_node(text, old, start, _flow_text(value))


def _flow_text(value: Any) -> str:
    """Returns `value` as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow_text(key)}: {_flow_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow_text(item) for item in value) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}".replace("inf", ".inf").replace("nan", ".nan")
    text = json.dumps(value, ensure_ascii=False)
    return NOT_YAML.sub(lambda letter: f"\\u{ord(letter[0]):04x}", text)


def _root(text: str, key: str) -> Node:
    root = YAML().compose(text)
    if not isinstance(root, MappingNode):
        raise InvalidInput(f"--set {key}: params.yaml has no keys yet")
    return root


def _names(node: MappingNode) -> list[str]:
    return [str(name.value) for name, _ in node.value]


def _child(text: str, node: Node, name: str, key: str) -> tuple[Node, int]:
    """Returns the node at `name` in `node`, and the index behind the sign that precedes it.

    `key` is the whole dotted key, for messages.
    """
    if isinstance(node, MappingNode) and name in _names(node):
        before, value = next(pair for pair in node.value if str(pair[0].value) == name)
        return _not_alias(value, value_start(text, before), key)
    if isinstance(node, SequenceNode) and name.isdecimal() and int(name) < len(node.value):
        return _not_alias(node.value[int(name)], entry_starts(text, node)[int(name)], key)
    if isinstance(node, MappingNode):
        raise InvalidInput(f"--set {key}: {unknown_name_message('key', name, _names(node))}")
    parent = key[: key.rindex(f".{name}")]
    raise InvalidInput(f"--set {key}: {parent} has no keys; set it as a whole: --set '{parent}={{{name}: VALUE}}'")


def _not_alias(node: Node, start: int, key: str) -> tuple[Node, int]:
    """Returns both, unless the node is not written behind the index `start`, but at an anchor before it."""
    if node.start_mark.index < start:
        raise InvalidInput(
            f"--set {key}: its value is that of the anchor &{node.anchor}, which other keys may share; set it there, "
            "or write the value out in place of the alias"
        )
    return node, start
