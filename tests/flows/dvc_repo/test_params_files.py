"""Values written into files of parameters besides params.yaml: these values alone, or none."""

from pathlib import Path
from typing import Any

import pytest

from flows.dvc_repo.params_files import write_params
from stages.base.errors import InvalidInput

ALIASES = "base: &b\n  lr: 1\nt: *b\nu: &l [1, 2]\nv: *l\nw:\n  <<: *b\n"


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("p.yaml", ALIASES, {"t.lr": 5}, r"cannot write t\.lr without a change of (base|w)\.lr, which shares"),
        ("p.yaml", ALIASES, {"v.0": 5}, r"cannot write v\.0 without a change of u\.0, which"),
        ("p.py", "a = 1; b = 10\n", {"a": 2}, "cannot write a without a change of b, .* the line"),
        ("p.py", "a = 1\n", {"a": True}, "cannot write True at 'a'; move this parameter to a YAML file"),
        ("p.json", '{"a.b": 1}', {"a.b": 2}, r"cannot find a\.b .*; a key whose name has a dot cannot be set"),
        ("p.json", '{"a.b": 1, "a": {}}', {"a.b": 2}, "whose name has a dot"),
        ("p.json", '{"a": {"b.c": 1}}', {"a.b.c": 2}, "whose name has a dot"),
        ("p.json", '{"a": {"b": 1}}', {"a": 1, "a.b": 2}, "nor one in a section that is set too"),
        ("p.json", '{"a": 1}', {"a": {1, 2}}, "cannot write a: "),
        ("p.toml", "a = 1\n", {"a": None}, "cannot write a: .*NoneType"),
    ],
)
def test_a_file_stays_as_it_was(tmp_path: Path, name: str, text: str, settings: dict[str, Any], message: str) -> None:
    """If a value cannot be written, or not without a change of another one, one sentence says so."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message) as caught:
        write_params(path, settings)
    assert "\n" not in str(caught.value)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("name", "text", "settings", "expected"),
    [
        ("p.yaml", ALIASES, {"w.lr": 5}, ALIASES + "  lr: 5\n"),
        ("p.yaml", "1: {b: [1, 2]} # x\n", {"1.b.1": True}, "1: {b: [1, true]} # x\n"),
        ("p.yaml", "a: {b: 1}\n", {"a": [1]}, "a:\n- 1\n"),
        ("p.json", '{"a": 1}', {"a": 1.0}, '{"a": 1.0}'),
        ("p.toml", "a.b = 1\n[c]\nd = [1]\n", {"a.b": 2, "c.d.0": 3}, "a.b = 2\n[c]\nd = [3]\n"),
        ("p.py", "class T:\n    n: int = 3\n    m = 3\n", {"T.n": 4}, "class T:\n    n: int = 4\n    m = 3\n"),
        ("p.py", "n = 1\n", {"n": 1.0}, "n = 1\n"),
    ],
)
def test_values_are_written(tmp_path: Path, name: str, text: str, settings: dict[str, Any], expected: str) -> None:
    """The values at the keys are written, below merge keys and numbers too; for DVC, 1 and 1.0 are equal in Python."""
    path = tmp_path / name
    path.write_text(text)
    write_params(path, settings)
    assert path.read_text() == expected
