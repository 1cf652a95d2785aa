"""Output that several verbs share: JSON on standard output, and a page in the browser."""

import json
import math
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.core.redaction import mask, mask_content
from stages.base.errors import InvalidInput
from stages.base.shown_text import one_line
from stages.base.streams import takes_ascii_only

if TYPE_CHECKING:
    from rich.text import Text


def print_json(content: Any) -> None:
    """Prints `content` as indented JSON, with secrets masked; numbers that are not finite become null."""
    print(json.dumps(_finite(mask_content(content)), indent=2, ensure_ascii=takes_ascii_only(), allow_nan=False))


def shown(text: str, style: str = "") -> "Text":
    """Returns `text` on one line for a Rich console, masked and without markup: file names hold brackets too."""
    from rich.text import Text  # late: --json needs no console

    return Text(one_line(mask(text)), style)


def open_page(page: Path) -> None:
    """Opens an HTML file in the browser.

    Raises:
        InvalidInput: this machine has no browser.
    """
    if not webbrowser.open(page.resolve().as_uri()):
        raise InvalidInput(f"no browser could be started here; open {page} yourself")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(item) for item in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
