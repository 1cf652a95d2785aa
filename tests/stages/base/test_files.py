"""JSON of any origin, and names of files of any length."""

import pytest

from stages.base.files import exists, is_file, is_folder, parse_json


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "9" * 5_000, "{", b"\xff", ""], ids=range(6))
def test_hostile_json(text: str | bytes) -> None:
    """A text that is no JSON, nested too deep, or has a number of too many digits is one kind of error."""
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a/" * 3_000])
def test_impossible_names(name: str) -> None:
    """A name that no file can have is that of no file."""
    assert not (exists(name) or is_file(name) or is_folder(name))
