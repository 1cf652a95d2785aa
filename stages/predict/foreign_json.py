"""Reads JSON of any origin: of a model's metadata and of the files beside it."""

from typing import Any

from stages.base.files import parse_json


def parse_foreign_json(text: str | bytes) -> Any:
    r"""Returns the value of a JSON text; each text in it can be encoded as UTF-8.

    JSON can name halves of characters, such as `\udcff`, which no answer of a server can hold: they are escaped.

    Raises:
        ValueError: it is none, or nested too deep.
    """
    try:
        return _encodable(parse_json(text))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _encodable(content: Any) -> Any:
    if isinstance(content, str):
        return content.encode(errors="backslashreplace").decode()
    if isinstance(content, dict):
        return {_encodable(key): _encodable(value) for key, value in content.items()}
    return [_encodable(item) for item in content] if isinstance(content, list) else content
