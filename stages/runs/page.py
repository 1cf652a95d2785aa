"""Renders the page over all versions: one file that needs no other file and no network."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.charts.vega import javascript

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("base", "statistics", "filter", "charts", "compare", "run", "sweep", "table", "trend", "start")


def render_page(content: Mapping[str, Any]) -> str:
    """Returns the page as HTML, with `content` as JSON for its scripts, all texts escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"day": _day, "parameter": _parameter}
    scripts = "\n".join(_text(f"{name}.js") for name in SCRIPTS)
    return environment.get_template("runs.html.j2").render(
        content=content,
        style=Markup(_text("runs.css")),
        scripts=Markup(scripts),
        vega=Markup(javascript()),
        data=_embedded(content),
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _embedded(content: Any) -> Markup:
    """Returns `content` as JSON for a script element, which no text in it can close."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.encode(errors="replace").decode()  # names of files that are not UTF-8
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds else ""


def _parameter(change: tuple[str, list[Any]]) -> str:
    key, (old, new) = change
    return f"{key.removeprefix('models.')} {_value(old)} → {_value(new)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | bool) else str(value)
