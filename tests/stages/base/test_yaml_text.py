"""YAML of any origin is parsed in bounded depth and size."""

import pytest
from ruamel.yaml.error import YAMLError

from stages.base.yaml_text import parse_yaml


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 600 + "]" * 600,
        "\n".join(f"{' ' * level}a{level}:" for level in range(500)),
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)),
        "a: 2020-99-99",
        "9" * 5_000,
        "%: 0",
        "[{a: b}: c",
        "{[1, 2]: 3, {a: b}: 4",
        "!!python/object:os.system x",
        "a: \x00",
        'a: "\\ud800"',
        '{"\\udfff": 1}',
    ],
    ids=lambda text: text[:20],
)
def test_hostile_yaml(text: str) -> None:
    """Deep nesting, aliases that expand or hold themselves, impossible values and objects are errors of the text."""
    with pytest.raises((YAMLError, ValueError)):
        parse_yaml(text)


def test_ordinary_yaml() -> None:
    """Aliases, nested values and long lists of a size that occurs are parsed."""
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {d: {e: [[1]]}}\n") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": {"e": [[1]]}},
    }
    assert len(parse_yaml("\n".join(["- 1"] * 5_000))) == 5_000
