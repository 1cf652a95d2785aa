"""Changes single values in a YAML text and keeps every other byte, comments and columns included."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from flows.edits.edited_file import with_ends_of
from stages.base.errors import InvalidInput
from stages.base.suggestions import unknown_name_message
from stages.base.yaml_text import parse_yaml

PLAIN = re.compile(r"[A-Za-z_][\w./+-]*")  # text without quotes, except the words that YAML reads as another type
NEW_NAME = re.compile(r"[^\W\d][\w-]*|0|[1-9]\d{0,8}")
NOT_YAML = re.compile(r"[\x7f-\x84\x86-\x9f]")  # which JSON leaves as they are
ALIAS = re.compile(r"\*[^\s,\[\]{}]+")
SHORT = 100  # characters of a mapping on one line
MAX_REASON = 200  # characters of a parser's message
NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def set_value(text: str, key: str, value: Any) -> str:
    """Returns the YAML `text` with `value` at the dotted `key`; adds the last part of the key if it is missing.

    Raises:
        InvalidInput: a parent of the key does not exist, and the message lists the keys that do; the last part of the
            key cannot be a new name; the value is that of an anchor, so that others would change too; or `text` is not
            YAML.
    """
    with _valid(f"--set {key}"):
        changed = _with_value(text, key, value)
        parse_yaml(changed)
    return with_ends_of(text, changed)


def has_key(text: str, key: str) -> bool:
    """Returns whether the YAML `text` has the dotted `key`; True if it is not YAML, which `set_value` reports."""
    try:
        node = _root(text, key)
        for name in key.split("."):
            node = _child(node, name, key)
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
        InvalidInput: the section does not exist, or `text` is not YAML or would not be.
    """
    with _valid(f"{section}.{name}"):
        changed = _with_entry(text, section, name, entry)
        parse_yaml(changed)
    return with_ends_of(text, changed)


def _with_entry(text: str, section: str, name: str, entry: dict[str, Any]) -> str:
    node = _child(_root(text, section), section, section)
    if not isinstance(node, MappingNode) or node.flow_style or not node.value:
        return set_value(text, f"{section}.{name}", entry)
    old = next((pair for pair in node.value if str(pair[0].value) == name), None)
    if old is None:
        indent = " " * node.value[0][0].start_mark.column
        return _add(text, node, _block_text(name, entry, indent).removeprefix(indent))
    if _is_block(old[1]) and _has_all_keys(entry, old[1]):
        for key, value in entry.items():
            is_nested = isinstance(value, dict) and any(str(child.value) == key for child, _ in old[1].value)
            pairs = {f"{key}.{inner}": item for inner, item in value.items()} if is_nested else {key: value}
            for path, item in pairs.items():
                text = set_value(text, f"{section}.{name}.{path}", item)
        return text
    start = old[0].start_mark
    return text[: start.index] + _block_text(name, entry, " " * start.column).lstrip() + text[_end(text, old[1]) :]


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
        node = _child(node, name, key)
    if isinstance(node, MappingNode) and last not in _names(node):
        if not NEW_NAME.fullmatch(last) or last.lower() in NOT_TEXT:
            raise InvalidInput(
                f"--set {key}: there is no key {last!r}, and it cannot be a new one: expected a letter, then letters, "
                "digits, _ and -"
            )
        return _add(text, node, f"{last}: {_flow_text(value)}")
    old = _child(node, last, key)
    if _is_block(old):
        start = text.rindex(":", 0, old.start_mark.index) + 1
        return f"{text[:start]} {_flow_text(value)}{text[_end(text, old) :]}"
    start, end = old.start_mark.index, old.end_mark.index
    if parse_yaml(text[start:end]) == value:
        return text
    return text[:start] + _flow_text(value) + text[end:]


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
    text = json.dumps(value, ensure_ascii=False, default=str)  # a date becomes text, which the schema then checks
    return text if text.isprintable() else NOT_YAML.sub(lambda letter: f"\\x{ord(letter[0]):02x}", text)


def _root(text: str, key: str) -> Node:
    root = YAML().compose(text)
    if not isinstance(root, MappingNode):
        raise InvalidInput(f"--set {key}: params.yaml has no keys yet")
    return root


def _names(node: MappingNode) -> list[str]:
    return [str(name.value) for name, _ in node.value]


def _child(node: Node, name: str, key: str) -> Node:
    """Returns the node at `name` in `node`; `key` is the whole dotted key, for messages."""
    if isinstance(node, MappingNode) and name in _names(node):
        before, value = next(pair for pair in node.value if str(pair[0].value) == name)
        return _not_alias(value, before.end_mark.index, key)
    if isinstance(node, SequenceNode) and name.isdecimal() and int(name) < len(node.value):
        number = int(name)
        start = node.value[number - 1].end_mark.index if number else node.start_mark.index
        return _not_alias(node.value[number], start, key)
    if isinstance(node, MappingNode):
        raise InvalidInput(f"--set {key}: {unknown_name_message('key', name, _names(node))}")
    parent = key[: key.rindex(f".{name}")]
    raise InvalidInput(f"--set {key}: {parent} has no keys; set it as a whole: --set '{parent}={{{name}: VALUE}}'")


def _not_alias(node: Node, start: int, key: str) -> Node:
    """Returns `node` unless it is not written behind the index `start`, but at an anchor before it."""
    if node.start_mark.index < start:
        raise InvalidInput(
            f"--set {key}: its value is that of the anchor &{node.anchor}, which other keys may share; set it there, "
            "or write the value out in place of the alias"
        )
    return node


def _is_block(node: Node) -> bool:
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style and bool(node.value)


def _end(text: str, node: Node) -> int:
    """Returns the index after the last character of `node`; the end mark of a block includes the space after it."""
    if not _is_block(node):
        return int(node.end_mark.index)
    if isinstance(node, MappingNode):
        key, value = node.value[-1]
        return _end_of_child(text, value, key.end_mark.index)
    end = int(node.start_mark.index)
    for item in node.value:
        end = _end_of_child(text, item, end)
    return end


def _end_of_child(text: str, node: Node, start: int) -> int:
    """Returns the index after the last character of what is written behind the index `start`: `node`, or an alias."""
    alias = ALIAS.search(text, start) if node.start_mark.index < start else None
    return alias.end() if alias else _end(text, node)


def _add(text: str, node: MappingNode, entry: str) -> str:
    """Returns `text` with `entry` added at the end of the mapping `node`."""
    if node.flow_style:
        end = node.end_mark.index - 1
        separator = ", " if node.value else ""
        return text[:end].rstrip() + separator + entry + text[end:]
    end = text.find("\n", _end(text, node))
    end = len(text) if end < 0 else end
    indent = " " * node.value[0][0].start_mark.column
    return f"{text[:end]}\n{indent}{entry}{text[end:]}"
