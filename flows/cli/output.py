"""Output that several verbs share: JSON on standard output, and a page in the browser."""

import json
import webbrowser
from pathlib import Path
from typing import Any

from stages.base.errors import InvalidInput


def print_json(content: Any) -> None:
    """Prints `content` as indented JSON."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def open_page(page: Path) -> None:
    """Opens an HTML file in the browser.

    Raises:
        InvalidInput: this machine has no browser.
    """
    if not webbrowser.open(page.resolve().as_uri()):
        raise InvalidInput(f"no browser could be started here; open {page} yourself")
