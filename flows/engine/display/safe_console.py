"""A console of Rich for texts of any origin: names of strangers bring no markup, no control sequence and no secret."""

from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from flows.core.redaction import mask


class SafeConsole(Console):
    """Prints each string as it is, in tables too: without Rich's markup and emoji codes, masked."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns the text that is printed for a string; Rich calls it for strings in tables too."""
        return super().render_str(mask(text), **(options | {"markup": False, "emoji": False}))

    def on_broken_pipe(self) -> NoReturn:
        """Raises the BrokenPipeError again, in whose handler Rich calls it: the command's exit code tells of it."""
        raise
