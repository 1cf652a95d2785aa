"""Reads what an exported model says of itself: a JSON text of any origin in its metadata."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def read_metadata(
    metadata: Mapping[str, str], key: str, limit: int, values: str, parse: Callable[[Any], T]
) -> T | None:
    """Returns what `parse` makes of the JSON text at `key`; None for a model without it.

    Args:
        metadata: the metadata of an exported model.
        key: the key.
        limit: the largest number of characters.
        values: what the text is an object of, for the message.
        parse: returns the facts in the parsed text; a ValueError of it has a message of its own.

    Raises:
        ValueError: the text is too long, no JSON, or has another form than `parse` reads.
    """
    if (text := metadata.get(key)) is None:
        return None
    if len(text) > limit:
        raise ValueError(f"{key} is longer than {limit:,} characters")
    try:
        return parse(json.loads(text))
    except (AttributeError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{key} is not an object of {values}") from error
