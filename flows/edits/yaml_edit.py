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
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from flows.edits.edited_file import with_ends_of
from flows.edits.yaml_document import Document, is_identical
from stages.base.errors import InvalidInput
from stages.base.suggestions import unknown_name_message

PLAIN = re.compile(r"[A-Za-z_][\w./+-]*")  # text without quotes, except the words that YAML reads as another type
NEW_NAME = re.compile(r"[^\W\d][\w-]*|0|[1-9]\d{0,8}")
NOT_YAML = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # which JSON leaves as they are
SPACE = r"(?>[ \t\r\n]+|#[^\r\n]*|[&!]\S*)*+"  # space, comments, anchors and tags
ALIAS = re.compile(r"\*[^\s,\[\]{}]+")
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
        return _add(text, node, _block_text(name, entry, indent).removeprefix(indent))
    if _is_block(old[1]) and _has_all_keys(entry, old[1]):
        for key, value in entry.items():
            is_nested = isinstance(value, dict) and any(str(child.value) == key for child, _ in old[1].value)
            pairs = {f"{key}.{inner}": item for inner, item in value.items()} if is_nested else {key: value}
            for path, item in pairs.items():
                text = _with_value(text, f"{section}.{name}.{path}", item)
        return text
    start = old[0].start_mark
    end = _end(text, old[1], _behind(text, old[0].end_mark.index, ":"))
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
        return _add(text, node, f"{last}: {_flow_text(value)}")
    old, start = _child(text, node, last, key)
    if is_identical(Document(text).value_at(key.split(".")), value):
        return text
    end = _end(text, old, start)
    if not (_is_block(old) or _is_empty(old)):
        return text[: old.start_mark.index] + _flow_text(value) + text[end:]
    line_end = len(text[:start]) + len(text[start:].partition("\n")[0].rstrip())
    kept = text[start:line_end] if line_end < old.start_mark.index else ""  # a comment behind the key
    return f"{text[:start]} {_flow_text(value)}{kept}{text[max(end, start + len(kept)) :]}"


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
        return _not_alias(value, _behind(text, before.end_mark.index, ":"), key)
    if isinstance(node, SequenceNode) and name.isdecimal() and int(name) < len(node.value):
        return _not_alias(node.value[int(name)], _starts(text, node)[int(name)], key)
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


def _behind(text: str, start: int, sign: str) -> int:
    """Returns the index behind the `:` or `-` that follows `start`; `start` if none does, as in `{key}`."""
    found = re.compile(f"{SPACE}{sign}").match(text, start)
    return found.end() if found else start


def _starts(text: str, node: SequenceNode) -> list[int]:
    """Returns the index behind which each entry of a list is written, and the end of the last one."""
    starts, end = [], int(node.start_mark.index)
    for item in node.value:
        starts.append(end if node.flow_style else _behind(text, end, "-"))
        end = _end(text, item, starts[-1])
    return [*starts, end]


def _is_block(node: Node) -> bool:
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style and bool(node.value)


def _is_empty(node: Node) -> bool:
    """Returns whether there is no text of the value; its marks may be lines behind its key."""
    return isinstance(node, ScalarNode) and bool(node.start_mark.index == node.end_mark.index)


def _end(text: str, node: Node, start: int) -> int:
    """Returns the index after the last character of what is written behind the index `start`: `node`, or an alias.

    The end mark of a block includes the space after it.
    """
    if node.start_mark.index < start:
        alias = ALIAS.search(text, start)
        return alias.end() if alias else start
    if _is_empty(node):
        return start
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        return _end_of_lines(text[: node.end_mark.index], text[node.start_mark.index :].partition("\n")[0])
    if not _is_block(node):
        return int(node.end_mark.index)
    if isinstance(node, SequenceNode):
        return _starts(text, node)[-1]
    key, value = node.value[-1]
    return _end(text, value, _behind(text, key.end_mark.index, ":"))


def _end_of_lines(text: str, header: str) -> int:
    """Returns the index after the last line of a literal or folded value at the end of `text`."""
    is_kept = "+" in header.partition("#")[0]  # the empty lines belong to the value
    return len(text.removesuffix("\n").removesuffix("\r") if is_kept else text.rstrip())


def _add(text: str, node: MappingNode, entry: str) -> str:
    """Returns `text` with `entry` added at the end of the mapping `node`."""
    if node.flow_style and not node.value:
        end = node.end_mark.index - 1
        return text[:end].rstrip() + entry + text[end:]
    key, value = node.value[-1]
    end = _end(text, value, _behind(text, key.end_mark.index, ":"))
    if node.flow_style:
        return f"{text[:end]}{' ' * _is_empty(value)}, {entry}{text[end:]}"  # `{b:, c: 1}` has a key `b:,`
    end = text.find("\n", end)
    end = len(text) if end < 0 else end
    first = node.value[0][0].start_mark
    before = text[: first.index].rstrip(" ")
    width = first.index - len(before) + 1 if before.endswith("?") else 0  # of the sign in `? key`
    return f"{text[:end]}\n{' ' * (first.column - width)}{entry}{text[end:]}"
