"""Changing single values in a YAML text: everything else keeps its bytes, comments and columns too."""

import json
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from stages.base.errors import InvalidInput
from stages.base.suggestions import unknown

PLAIN = re.compile(r"[A-Za-z_][\w./+-]*")  # text that needs no quotes, unless YAML reads it as something else
NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def edit(text: str, key: str, value: Any) -> str:
    """`text` with `value` at the dotted `key`; a key that the last mapping lacks is added to it.

    Raises:
        InvalidInput: the way to the key leads nowhere; the sentence names the keys that there are.
    """
    *parents, last = key.split(".")
    here = _root(text, key)
    for name in parents:
        here = _child(here, name, key)
    if isinstance(here, MappingNode) and last not in _names(here):
        return _add(text, here, f"{last}: {flow_text(value)}")
    old = _child(here, last, key)
    if not _is_block(old) and _parsed(text[old.start_mark.index : old.end_mark.index]) == value:
        return text
    if _is_block(old):
        end = _end(text, old)
        start = text.rindex(":", 0, old.start_mark.index) + 1
        return f"{text[:start]} {flow_text(value)}{text[end:]}"
    return text[: old.start_mark.index] + flow_text(value) + text[old.end_mark.index :]


def flow_text(value: Any) -> str:
    """`value` as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow_text(item) for item in value) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)  # a date as text: the schema says what it thinks of it


def _root(text: str, key: str) -> Node:
    root = YAML().compose(text)
    if not isinstance(root, MappingNode):
        raise InvalidInput(f"--set {key}: params.yaml has no keys yet")
    return root


def _names(node: MappingNode) -> list[str]:
    return [str(name.value) for name, _ in node.value]


def _child(node: Node, name: str, key: str) -> Node:
    if isinstance(node, MappingNode) and name in _names(node):
        found: Node = next(value for child, value in node.value if str(child.value) == name)
        return found
    if isinstance(node, SequenceNode) and name.isdigit() and int(name) < len(node.value):
        item: Node = node.value[int(name)]
        return item
    if isinstance(node, MappingNode):
        raise InvalidInput(f"--set {key}: {unknown('key', name, _names(node))}")
    parent = key[: key.rindex(f".{name}")]
    raise InvalidInput(f"--set {key}: {parent} holds no keys; set it as a whole: --set '{parent}={{{name}: VALUE}}'")


def _is_block(node: Node) -> bool:
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style and bool(node.value)


def _end(text: str, node: Node) -> int:
    """Index behind the last character of `node`: a block's own end mark lies behind the space that follows it."""
    while _is_block(node):
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return int(node.end_mark.index)


def _add(text: str, node: MappingNode, entry: str) -> str:
    """`text` with one more entry at the end of the mapping `node`."""
    if node.flow_style:
        end = node.end_mark.index - 1
        separator = ", " if node.value else ""
        return text[:end].rstrip() + separator + entry + text[end:]
    end = text.find("\n", _end(text, node))
    end = len(text) if end < 0 else end
    indent = " " * node.value[0][0].start_mark.column
    return f"{text[:end]}\n{indent}{entry}{text[end:]}"


def _parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)
