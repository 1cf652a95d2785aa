"""The values of a YAML document, by which an edit of its text is checked: they must be the old ones beside the edit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from flows.edits.exact_value import exact_text
from stages.base.yaml_text import parse_yaml

MARK = "\0 the new value"  # stands for it in the old document
TEXT_TAG = "tag:yaml.org,2002:str"


class Document:
    """A YAML document; aliases and merge keys lead to the same values before and after an edit."""

    def __init__(self, text: str) -> None:
        """Parses `text`; raises YAMLError or ValueError if it is not YAML."""
        self._yaml = YAML(typ="safe", pure=True)
        self._root: Node = self._yaml.compose(text)

    def value_at(self, path: Sequence[str]) -> Any:
        """Returns the value at the keys `path`, which exist."""
        node = self._root
        for name in path:
            node = _child(node, name)
        return self._yaml.constructor.construct_document(node)

    def is_changed_to(self, changed: str, path: Sequence[str], value: Any) -> bool:
        """Returns whether the text `changed` is this document with `value` at `path`, where 1, 1.0 and true differ.

        The parent of `path` exists. No other method can be called afterwards.

        Raises:
            YAMLError, ValueError: one of both texts is not YAML.
        """
        present = parse_yaml(changed)
        *parents, last = path
        node = self._root
        for name in parents:
            node = _child(node, name)
        mark: Any = ScalarNode(TEXT_TAG, MARK)
        if not isinstance(node, MappingNode):
            node.value[int(last)] = mark
        else:
            place = _place(node, last)
            key = node.value[place][0] if place < len(node.value) else self._new_key(last)
            node.value[place : place + 1] = [(key, mark)]
        return _is_same(self._yaml.constructor.construct_document(self._root), present, value)

    def _new_key(self, name: str) -> Node:
        """Returns a key as YAML reads `name` without quotes: 7 is a number."""
        key: Node = YAML(typ="safe", pure=True).compose(name)
        return key


def is_identical(one: Any, other: Any) -> bool:
    """Returns whether two values are equal and of the same types, in lists and mappings too; NaN equals NaN."""
    return exact_text(one) == exact_text(other)


def _child(node: Node, name: str) -> Node:
    child: Node = node.value[_place(node, name)][1] if isinstance(node, MappingNode) else node.value[int(name)]
    return child


def _place(node: MappingNode, name: str) -> int:
    """Returns the number of the first pair whose key is written as `name`; the number of pairs if there is none."""
    return next((number for number, (key, _) in enumerate(node.value) if str(key.value) == name), len(node.value))


def _is_same(one: Any, other: Any, marked: Any) -> bool:
    """Returns whether `one` is identical to `other`, where MARK in `one` stands for `marked`."""
    if isinstance(one, str) and one == MARK:
        one = marked
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = {(type(key), key): key for key in other}
        return len(one) == len(other) and all(
            (type(key), key) in keys and _is_same(item, other[key], marked) for key, item in one.items()
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_is_same(*pair, marked) for pair in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)
