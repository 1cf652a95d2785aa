"""Converts pydantic's validation errors into sentences: key path, value, allowed values, nearest known name."""

import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from stages.base.shown_text import MAX_QUOTED, shortened, without_middle
from stages.base.suggestions import did_you_mean

MESSAGES = {
    "missing": "is missing; add it",
    "string_pattern_mismatch": "got {input}, expected text that matches {pattern}",
    "greater_than": "got {input}, expected a number above {gt}",
    "greater_than_equal": "got {input}, expected {ge} or more",
    "less_than": "got {input}, expected a number below {lt}",
    "less_than_equal": "got {input}, expected {le} or less",
    "literal_error": "got {input}, expected one of {expected}",
    "value_error": "{error}",
    "model_type": "got {input}, expected keys with values, such as {{key: value}}",
    "model_attributes_type": "got {input}, expected keys with values, such as {{key: value}}",
    "dict_type": "got {input}, expected names with keys below them",
    "list_type": "got {input}, expected a list, such as [1, 2]",
    "int_type": "got {input}, expected a whole number",
    "float_type": "got {input}, expected a number",
    "bool_type": "got {input}, expected true or false",
    "string_type": "got {input}, expected text",
    "union_tag_invalid": "got {tag!r} for {discriminator}, expected one of {expected_tags}",
    "union_tag_not_found": "needs the key {discriminator}",
}


def error_messages(error: ValidationError, schema: Any, parents: Sequence[str] = ()) -> list[str]:
    """Returns one sentence for each error of a section.

    Args:
        error: raised by the validation of the section.
        schema: the type of the section.
        parents: the keys that lead to the section; they start the key path in the sentence.
    """
    details = error.errors(include_url=False)
    return list(dict.fromkeys(_message(dict(detail), schema, parents) for detail in details))


def _message(detail: dict[str, Any], schema: Any, parents: Sequence[str]) -> str:
    keys, allowed = _resolve(schema, detail["loc"])
    keys = [shortened(key) for key in (*parents, *keys)]
    got = shortened(repr(detail["input"]))
    path = ".".join(keys)
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key; {did_you_mean(keys[-1], allowed)}allowed: {', '.join(allowed)}"
    if keys and keys[-1] == "[key]":
        return (
            f"{'.'.join(keys[:-2])}: got the name {keys[-2]!r}, "
            "expected lower-case letters, digits and _ after a letter, at most 40"
        )
    template = MESSAGES.get(detail["type"])
    if template is None:
        return f"{path}: got {got}, {detail['msg'][0].lower()}{detail['msg'][1:]}"
    facts = detail.get("ctx", {})
    given = {"input": got, "tag": shortened(str(facts.get("tag"))), "error": without_middle(str(facts.get("error")))}
    message = template.format(**facts | given)
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        hint = did_you_mean(str(detail["input"])[:MAX_QUOTED], choices).rstrip()
        message += f"; {hint}" if hint else ""
    return f"{path}: {message}" if path else message


def _resolve(schema: Any, loc: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """Returns the key path as it is in the file, and the allowed keys beside its last key.

    Pydantic's `loc` also names members of unions, which are not in the file.
    """
    keys: list[str] = []
    allowed: list[str] = []
    types_at_step = [schema]
    for step in loc:
        members = [member for kind in types_at_step for member in _members(kind)]
        fields = {name: field for kind in members if _is_model(kind) for name, field in kind.model_fields.items()}
        mappings = [typing.get_args(kind)[1] for kind in members if typing.get_origin(kind) is dict]
        tagged = [kind for kind in members if _is_model(kind) and step in (kind.__name__, _tag(kind))]
        if tagged:
            types_at_step = tagged
            continue
        allowed = list(fields)
        keys.append(str(step))
        types_at_step = [fields[step].annotation] if step in fields else mappings or types_at_step
    return keys, allowed


def _members(kind: Any) -> list[Any]:
    """Returns the members of the union `kind`, or `kind` itself, without Annotated."""
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
