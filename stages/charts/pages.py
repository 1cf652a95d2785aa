"""What pages of one file share: the environment of their templates, and JSON inside of a script element."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def page_environment(templates: Path) -> Environment:
    """Returns the environment of the templates in a folder: texts are escaped, and an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def embedded_json(content: Any) -> Markup:
    """Returns `content` as JSON for a script element, which no text in it can close.

    What is not UTF-8, such as the name of a file, has a question mark in its place.
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.encode(errors="replace").decode()
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
