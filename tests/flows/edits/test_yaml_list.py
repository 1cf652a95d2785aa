"""Entries added to and removed from a list in a YAML file, whatever its form."""

from collections.abc import Sequence

import pytest

from flows.edits.yaml_list import edit_list
from stages.base.errors import InvalidInput

PATH = ("t", "deps")


@pytest.mark.parametrize(
    ("text", "add", "remove", "expected"),
    [
        ("t:\n  deps:\n  - a\n  cmd: x\n", [], ["a"], "t:\n  deps: []\n  cmd: x\n"),
        ("t:\n  deps:  # why\n    - a\n    # x\n  cmd: x\n", [], ["a"], "t:\n  deps: []  # why\n    # x\n  cmd: x\n"),
        ("t:\n  deps:\n  - a\n  -\n    b\n  cmd: x\n", [], ["b"], "t:\n  deps:\n  - a\n  cmd: x\n"),
        ("t:\n  deps:\n  -\n    a\n  - b\n", ["n"], ["a"], "t:\n  deps:\n  - n\n  - b\n"),
        ("t:\n  deps:\n  - 'a\n    b'\n  - c", [], ["a b"], "t:\n  deps:\n  - c"),
        ("t:\n  deps:\n  - |\n    a\n\n  cmd: x\n", ["n"], [], "t:\n  deps:\n  - |\n    a\n  - n\n\n  cmd: x\n"),
        ("t:\r\n  deps:\r\n  - a\r\n  - b", ["n"], ["b"], "t:\r\n  deps:\r\n  - a\r\n  - n"),
        ("t:\n  deps: [a,  # x\n    b]\n", ["n"], ["a"], "t:\n  deps: [n, b]\n"),
        ("t: {cmd: x, }\n", ["n"], [], "t: {cmd: x, deps: [n], }\n"),
        ("t:\n  cmd: x\n", ["n"], [], "t:\n  deps:\n    - n\n  cmd: x\n"),
    ],
)
def test_entries_of_each_form(text: str, add: Sequence[str], remove: Sequence[str], expected: str) -> None:
    """New entries come before `b`, else at the end; an entry goes with all its lines, and other lines stay."""
    assert edit_list(text, PATH, add, remove, "b") == expected


def test_an_edit_that_would_change_more_is_refused() -> None:
    """An entry that other keys share is not removed."""
    text = "t:\n  deps:\n  - &a a\n  - b\nu: *a\n"
    with pytest.raises(InvalidInput, match=r"t\.deps cannot be changed in the text without other changes; edit it by"):
        edit_list(text, PATH, [], ["a"], None)
