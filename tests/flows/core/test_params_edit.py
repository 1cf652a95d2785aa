"""Keys and values of `--set` and `--grid` in any DVC project."""

import math
from pathlib import Path
from typing import Any

import pytest

from flows.core.params_edit import apply_settings, parse_settings
from flows.edits.yaml_edit import set_value
from flows.experiments.grid import check_combinations, parse_combinations
from stages.base.errors import InvalidInput
from stages.base.yaml_text import parse_yaml

TEXT = "a: 1\nb: 2  # two\nlist: [1, 2]\n"


def nested(depth: int) -> str:
    """Returns a file whose one value is nested that deep."""
    return "a: " + "[" * depth + "]" * depth


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder, with a params.yaml without our schema."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(TEXT)


@pytest.mark.parametrize(
    "setting",
    [
        "%=0", "gates =0", "2020-99-99=1", "2020-01-01=1", "a.b[=1", "=1", "a", "a b=1", "c:=1", "#=1", "on=1", "a.=1",
        ".a=1", "list.9=1", "list.x=1", "\udcff=1", "c=[", "c=2020-99-99", "c=" + "[" * 200, "\x1b[31m=1",
    ],
)  # fmt: skip
def test_keys_that_are_no_keys(setting: str) -> None:
    """Settings that are no key with a value are refused with one sentence, and the file stays as it is."""
    with pytest.raises(InvalidInput) as caught:
        apply_settings(parse_settings([setting]), Path())
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInput):
        check_combinations(parse_combinations([setting], [], None), Path())
    assert Path("params.yaml").read_text() == TEXT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("c", {"x: y": 1, "on": [True, None]}),
        ("a", math.inf),
        ("a", -math.inf),
        ("new-key_2", "%"),
        ("a", "\x1b[31m\u202e"),
        ("7", 8),
        ("a", "\xff"),
    ],
)
def test_unusual_values_are_read_back(key: str, value: Any) -> None:
    """What is written is read back as the same value, whatever characters it holds."""
    content = parse_yaml(set_value(TEXT, key, value))
    assert content.get(key, content.get(7)) == value


@pytest.mark.cases(5)
@pytest.mark.parametrize(
    "text", ["a: [", nested(150), "- 1\n", "", "a: 1\na: 2\n", pytest.param(nested(1_000), id="nested")]
)
def test_params_file_that_cannot_be_edited(text: str) -> None:
    """A params.yaml that is broken, nested too deep or has no keys is named in one sentence."""
    Path("params.yaml").write_text(text)
    with pytest.raises(InvalidInput):
        apply_settings({"b": 1}, Path())
    assert Path("params.yaml").read_text() == text


ANCHORS = """a: &a {x: 1}
m: &m
  lr: 0.1
m1: *m
m2:
  <<: *m
l: [&b 1, *b, 3]
s:
- *a
- *a
"""


@pytest.mark.parametrize("key", ["m1.lr", "m1", "l.1", "s.0.x", "s.1"])
def test_an_alias_is_not_followed(key: str) -> None:
    """A value that is written at an anchor is not changed through its aliases: other keys would change too."""
    with pytest.raises(InvalidInput, match=r"its value is that of the anchor &[amb], which other keys may share"):
        set_value(ANCHORS, key, 5)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("m.lr", "lr: 0.1", "lr: 5"),
        ("m2.lr", "  <<: *m\n", "  <<: *m\n  lr: 5\n"),
        ("l.2", "*b, 3]", "*b, 5]"),
        ("s", "s:\n- *a\n- *a", "s: 5"),
    ],
)
def test_values_beside_aliases(key: str, old: str, new: str) -> None:
    """An anchor's own value can be changed, a merged key overridden, and a block that ends with an alias replaced."""
    assert set_value(ANCHORS, key, 5) == ANCHORS.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"), [("0", False), ("true", 1), ("1", 1.0), ("[0]", [False]), ("{b: 1}", {"b": True})]
)
def test_a_value_of_another_type_is_written(old: str, new: Any) -> None:
    """A value that Python takes for the present one replaces it if it is of another type; an equal one does not."""
    changed = parse_yaml(set_value(f"a: {old}  # why\n", "a", new))["a"]
    assert repr(changed) == repr(new)
    assert set_value("a: 0x10\n", "a", 16) == "a: 0x10\n"
    assert set_value("a: {b: 1, c: 2}\n", "a", {"c": 2, "b": 1}) == "a: {b: 1, c: 2}\n"
