"""Compares values of parameters with their types: for Python, False is 0, and 1 is 1.0 and True."""

from typing import Any


def exact_text(value: Any) -> str:
    """Returns a text that is equal for values that are equal in value and type, whatever the order of keys."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{exact_text(key)}: {exact_text(item)}' for key, item in value.items()))}}}"
    return f"[{', '.join(map(exact_text, value))}]" if isinstance(value, list | tuple) else repr(value)
