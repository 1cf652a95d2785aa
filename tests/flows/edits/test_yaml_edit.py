"""Values set in the text of a YAML file: where they are written, and which are refused."""

import math
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from flows.edits.yaml_document import Document, is_identical
from flows.edits.yaml_edit import set_value
from stages.base.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "key", "value", "expected"),
    [
        ("opt:  # see: docs\n  lr: 1\nb: 2\n", "opt", {"lr": 2}, "opt: {lr: 2}  # see: docs\nb: 2\n"),
        ("opt:\n  # about: it\n  lr: 1  # low\nb: 2\n", "opt", [2], "opt: [2]  # low\nb: 2\n"),
        ("l:\n- u: 1\n  v: 2\n- u: 3\n", "l.1", {"u": 4}, "l:\n- u: 1\n  v: 2\n- {u: 4}\n"),
        ("l:\n  - - 1\n    - 2\n  - - 3\n", "l.0", [5], "l:\n  - [5]\n  - - 3\n"),
        ("notes:\nb: 2\n", "notes", 5, "notes: 5\nb: 2\n"),
        ("notes:   # none\n\n# x\nb: 2\n", "notes", 5, "notes: 5   # none\n\n# x\nb: 2\n"),
        ("b: 2\nnotes:", "notes", 5, "b: 2\nnotes: 5"),
        ("l:\n  -\n  - 2\n", "l.0", 5, "l:\n  - 5\n  - 2\n"),
        ("a: |\n  one\n\n# x\nb: 2\n", "a", 5, "a: 5\n\n# x\nb: 2\n"),
        ("a: >-\r\n  one\r\nb: 2\r\n", "a", 5, "a: 5\r\nb: 2\r\n"),
        ("s:\n  a: |\n    one\n\n\nb: 2\n", "s.new", 5, "s:\n  a: |\n    one\n  new: 5\n\n\nb: 2\n"),
        ("s:\n  a: |+\n    one\n\nb: 2\n", "s.new", 5, "s:\n  a: |+\n    one\n\n  new: 5\nb: 2\n"),
        ("s:\n  a:\n# x\nb: 2\n", "s.new", 5, "s:\n  a:\n  new: 5\n# x\nb: 2\n"),
        ("s: {a: 1, }\n", "s.new", 5, "s: {a: 1, new: 5, }\n"),
        ("s: {a: 1  # x\n  }\n", "s.new", 5, "s: {a: 1, new: 5  # x\n  }\n"),
        ("? a\n: 1\n", "new", 5, "? a\n: 1\nnew: 5\n"),
    ],
)
def test_where_a_value_is_written(text: str, key: str, value: Any, expected: str) -> None:
    """A value is written behind its own key, in place of its old one; the lines of others, and comments, stay."""
    assert set_value(text, key, value) == expected


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("1", True, "true"),
        ("true", 1, "1"),
        ("1", 1.0, "1.0"),
        ("1.0", 1, "1"),
        ("[1, {a: 0}]", [1, {"a": False}], "[1, {a: false}]"),
        ("1e3", 1000.0, "1e3"),
        ("010", 10, "010"),
        (".NaN", math.nan, ".NaN"),
        ("'a'", "a", "'a'"),
        ("{b: 1, a: [x]}  # y", {"a": ["x"], "b": 1}, "{b: 1, a: [x]}  # y"),
        ("\n  b: 1", {"b": 1}, "\n  b: 1"),
    ],
)
def test_a_value_of_another_type_is_another_value(old: str, value: Any, new: str) -> None:
    """1, 1.0 and true are three values, in lists and mappings too; a value that is there already keeps its form."""
    assert set_value(f"a: {old}\n", "a", value) == f"a: {new}\n"


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_the_version_of_the_text_counts(version: str) -> None:
    """`yes` is true in YAML 1.1, and a text in YAML 1.2, where it stays as it is."""
    text = f"%YAML {version}\n---\na: yes\n"
    assert set_value(text, "a", False) == text.replace("yes", "false")
    assert set_value(text, "a", "yes") == text.replace("yes", '"yes"' if version == "1.1" else "yes")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a: &a {x: 1}\nb: *a\n", "a"),
        ("l: [a: 1]\n", "l.0.new"),
        ("s: {a, b: 1}\n", "s.a"),
        ("a: |\n  one", "new"),
        ("a: 1\n---\nb: 1\n", "a"),
    ],
)
def test_an_edit_that_would_change_more_is_refused(text: str, key: str) -> None:
    """A value that cannot be written without another change is refused in one sentence."""
    with pytest.raises(InvalidInput, match=rf"^--set {key}: .*params\.yaml") as caught:
        set_value(text, key, 5)
    assert "\n" not in str(caught.value)


def test_values_of_other_types() -> None:
    """Dates and paths are written as text, numbers of NumPy as numbers; what YAML has not is refused."""
    given = {"d": date(2024, 1, 1), "p": PurePosixPath("a/b"), "v": np.float64(0.5), "t": (1, None)}
    assert set_value("a: 1\n", "a", given) == 'a: {d: "2024-01-01", p: a/b, v: 0.5, t: [1, null]}\n'
    for value, name in (([b"x"], "bytes"), ({(1, 2): 3}, "tuple")):
        with pytest.raises(InvalidInput, match=f"a value of the type {name} cannot be written; expected a number"):
            set_value("a: 1\n", "a", value)


def test_a_document_tells_other_changes() -> None:
    """Only a text with the value at the key, and with the old values elsewhere, is the changed document."""
    text = "m: &m\n  lr: 1\nn:\n  <<: *m\n  k: [1, 2]\n"
    changes = [
        ("m: &m\n  lr: 2\nn:\n  <<: *m\n  k: [1, 2]\n", True),
        ("m: &m {lr: 2}\nn: {<<: *m, k: [1, 2]}\n", True),
        ("m: &m\n  lr: 2\nn:\n  lr: 1\n  k: [1, 2]\n", False),
        ("m: &m\n  lr: 2.0\nn:\n  <<: *m\n  k: [1, 2]\n", False),
        ("m: &m\n  lr: 2\nn:\n  <<: *m\n  k: [1, 2.0]\n", False),
        ("m: &m\n  lr: 2\nn:\n  <<: *m\n  k: [1, 2]\n  l:\n", False),
    ]
    assert [Document(text).is_changed_to(changed, ["m", "lr"], 2) for changed, _ in changes] == [
        expected for _, expected in changes
    ]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, True, False),
        ({1: "a"}, {True: "a"}, False),
        ([math.nan], (math.nan,), True),
        (math.nan, 1.0, False),
        ({"a": None}, {}, False),
        (date(2024, 1, 1), "2024-01-01", False),
    ],
)
def test_identical_values(one: Any, other: Any, expected: bool) -> None:
    """Types count, of keys too."""
    assert is_identical(one, other) is expected
    assert is_identical(other, one) is expected
