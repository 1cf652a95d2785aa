"""Pydantic's errors as sentences: where, what was got, what is allowed, what was probably meant."""

import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from stages.base.suggestions import did_you_mean

REASONS = {
    "missing": "is missing; add it",
    "string_pattern_mismatch": "got {input!r}, expected text that matches {pattern}",
    "greater_than": "got {input!r}, expected a number above {gt}",
    "greater_than_equal": "got {input!r}, expected {ge} or more",
    "less_than": "got {input!r}, expected a number below {lt}",
    "less_than_equal": "got {input!r}, expected {le} or less",
    "literal_error": "got {input!r}, expected one of {expected}",
    "value_error": "{error}",
    "model_type": "got {input!r}, expected keys with values, such as {{key: value}}",
    "model_attributes_type": "got {input!r}, expected keys with values, such as {{key: value}}",
    "dict_type": "got {input!r}, expected names with keys below them",
    "list_type": "got {input!r}, expected a list, such as [1, 2]",
    "int_type": "got {input!r}, expected a whole number",
    "float_type": "got {input!r}, expected a number",
    "bool_type": "got {input!r}, expected true or false",
    "string_type": "got {input!r}, expected text",
    "union_tag_invalid": "got {tag!r} for {discriminator}, expected one of {expected_tags}",
    "union_tag_not_found": "needs the key {discriminator}",
}


def sentences(error: ValidationError, schema: Any, above: Sequence[str] = ()) -> list[str]:
    """One sentence for each mistake in `error`: of a section below the keys `above`, checked as `schema`."""
    mistakes = error.errors(include_url=False)
    return list(dict.fromkeys(_sentence(dict(mistake), schema, above) for mistake in mistakes))


def _sentence(mistake: dict[str, Any], schema: Any, above: Sequence[str]) -> str:
    keys, allowed = _walk(schema, mistake["loc"])
    keys = [*above, *keys]
    where = ".".join(keys)
    if mistake["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_nearest(keys[-1], allowed)}"
    if keys and keys[-1] == "[key]":
        return (
            f"{'.'.join(keys[:-2])}: got the name {keys[-2]!r}, "
            "expected lower-case letters, digits and _ after a letter, at most 40"
        )
    facts = {"input": mistake["input"], **mistake.get("ctx", {})}
    reason = REASONS.get(mistake["type"])
    if reason is None:
        return f"{where}: got {mistake['input']!r}, {mistake['msg'][0].lower()}{mistake['msg'][1:]}"
    if mistake["type"] == "literal_error":
        names = re.findall(r"'([^']*)'", str(facts["expected"]))
        hint = did_you_mean(str(mistake["input"]), names).rstrip()
        return f"{where}: {reason.format(**facts)}{f'; {hint}' if hint else ''}"
    said = reason.format(**facts)
    return f"{where}: {said}" if where else said


def _nearest(key: str, allowed: Sequence[str]) -> str:
    return f"{did_you_mean(key, allowed)}allowed: {', '.join(allowed)}"


def _walk(schema: Any, loc: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """Key path as a person wrote it, and the keys that may stand beside its last one.

    Pydantic's `loc` also names the members of unions, which nobody wrote.
    """
    keys: list[str] = []
    allowed: list[str] = []
    here = [schema]
    for step in loc:
        members = [member for kind in here for member in _members(kind)]
        fields = {name: field for kind in members if _is_model(kind) for name, field in kind.model_fields.items()}
        mappings = [typing.get_args(kind)[1] for kind in members if typing.get_origin(kind) is dict]
        tagged = [kind for kind in members if _is_model(kind) and step in (kind.__name__, _tag(kind))]
        if tagged:
            here = tagged
            continue
        allowed = list(fields)
        keys.append(str(step))
        here = [fields[step].annotation] if step in fields else mappings or here
    return keys, allowed


def _members(kind: Any) -> list[Any]:
    """`kind` without Annotated, and a union as its members."""
    if typing.get_origin(kind) is typing.Annotated:
        return _members(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(kind) for member in _members(part)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tag(kind: type[BaseModel]) -> str | None:
    field = kind.model_fields.get("network")
    return typing.get_args(field.annotation)[0] if field else None
