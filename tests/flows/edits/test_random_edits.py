"""Random edits of random YAML documents: each is made as it was asked for, or refused.

The environment variable INKFLOW_EXAMPLES sets the number of edits, which then are other ones each time.
"""

import os
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flows.edits.yaml_document import is_identical
from flows.edits.yaml_edit import set_value
from stages.base.errors import InvalidInput
from stages.base.yaml_text import parse_yaml
from tests.flows.edits.random_yaml import VALUES, Line, Path, documents

EXAMPLES = int(os.environ.get("INKFLOW_EXAMPLES", "200"))
OPTIONS = settings(max_examples=EXAMPLES, derandomize="INKFLOW_EXAMPLES" not in os.environ)


def paths(content: Any, parent: Path = ()) -> Iterator[Path]:
    """Yields the keys of all values, and of one new value in each mapping."""
    if isinstance(content, dict):
        yield (*parent, "new")
    for name, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*parent, str(name))
        if isinstance(value, dict | list):
            yield from paths(value, (*parent, str(name)))


def put(content: Any, path: Path, value: Any) -> None:
    """Puts `value` at `path`; an alias has the same value as its anchor."""
    *parents, last = path
    for name in parents:
        content = content[int(name)] if isinstance(content, list) else content[_key(content, name)]
    content[int(last) if isinstance(content, list) else _key(content, last)] = value


def _key(content: dict[Any, Any], name: str) -> Any:
    return next((key for key in content if str(key) == name), name)


def check(lines: list[Line], changed: str, path: Path, value: Any) -> None:
    """Checks that `changed` has `value` at `path`, and is the old document elsewhere; and so are its lines."""
    content = parse_yaml("".join(line.text for line in lines))
    put(content, path, value)
    assert is_identical(parse_yaml(changed), content), changed
    rest = iter(changed.splitlines())
    for line in lines:
        for part in line.text.splitlines() if not line.may_change(path) else ():
            assert not part or part in rest, f"{part!r} is not in {changed!r}"  # an empty line may belong to a text


@settings(OPTIONS)
@given(documents(with_rare=False), VALUES, st.data())
def test_an_edit_changes_its_value_alone(lines: list[Line], value: Any, data: st.DataObject) -> None:
    """A document of usual forms gets the value at the key, and nothing else changes."""
    text = "".join(line.text for line in lines)
    path = data.draw(st.sampled_from(list(paths(parse_yaml(text)))))
    check(lines, set_value(text, ".".join(path), value), path, value)


@settings(OPTIONS)
@given(documents(with_rare=True), VALUES, st.data())
def test_an_edit_is_right_or_refused(lines: list[Line], value: Any, data: st.DataObject) -> None:
    """A document with anchors, aliases, keys without a colon and no end of its last line may refuse the value."""
    text = "".join(line.text for line in lines)
    path = data.draw(st.sampled_from(list(paths(parse_yaml(text)))))
    try:
        changed = set_value(text, ".".join(path), value)
    except InvalidInput as error:
        assert "\n" not in str(error)
        return
    check(lines, changed, path, value)
