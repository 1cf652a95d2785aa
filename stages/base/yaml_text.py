"""Parses YAML of any origin: without objects, bounded in depth and in the size to which aliases expand."""

import re
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML

SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character: no file can hold it
MAX_DEPTH = 100
MAX_VALUES = 1_000_000  # with the values of an alias counted wherever it stands


def parse_yaml(text: str) -> Any:
    """Parses a YAML text into plain Python values.

    Raises:
        YAMLError, ValueError: the text is not YAML; ValueError for an impossible date or number, and for a text that is
            nested too deep or expands to too many values.
    """
    try:
        content = YAML(typ="safe", pure=True).load(text)
        _count(content, {}, 0)
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from error
    except (TypeError, AttributeError, LookupError, ArithmeticError, AssertionError) as error:
        raise ValueError(f"it is invalid ({error})") from error
    return content


def _count(content: Any, counts: dict[int, int], depth: int) -> int:
    """Returns the number of values in `content`, as if each alias were written out."""
    if isinstance(content, str) and SURROGATE.search(content):
        raise ValueError("it has half of a surrogate pair, which is no character")
    if not isinstance(content, dict | list):
        return 1
    if depth > MAX_DEPTH:
        raise RecursionError
    if id(content) not in counts:
        children: Iterable[Any] = [*content, *content.values()] if isinstance(content, dict) else content
        counts[id(content)] = MAX_VALUES + 1  # what a value counts that holds itself
        counts[id(content)] = 1 + sum(_count(child, counts, depth + 1) for child in children)
    if counts[id(content)] > MAX_VALUES:
        raise ValueError(f"its aliases expand to more than {MAX_VALUES:,} values")
    return counts[id(content)]
