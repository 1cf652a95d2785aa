"""Renders the page over all versions: one file that needs no other file and no network."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stages.charts.pages import embedded_json, page_environment
from stages.charts.vega import javascript

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("base", "statistics", "filter", "charts", "compare", "run", "sweep", "order", "table", "trend", "start")


def render_page(content: Mapping[str, Any]) -> str:
    """Returns the page as HTML, with `content` as JSON for its scripts, all texts escaped."""
    environment = page_environment(TEMPLATES)
    environment.filters |= {"day": _day, "parameter": _parameter}
    scripts = "\n".join(_text(f"{name}.js") for name in SCRIPTS)
    return environment.get_template("runs.html.j2").render(
        content=content,
        style=Markup(_text("runs.css")),
        scripts=Markup(scripts),
        vega=Markup(javascript()),
        data=embedded_json(content),
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds else ""


def _parameter(change: tuple[str, list[Any]]) -> str:
    key, (old, new) = change
    return f"{key.removeprefix('models.')} {_value(old)} → {_value(new)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | bool) else str(value)
