"""Random YAML documents in the forms in which people write them, each line with the keys whose value it has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Path = tuple[str, ...]
SCALARS = (
    "1", "0", "1.0", "1e3", "010", "true", "no", "null", "~", "text", "'1'", '"a: b"', "'it''s'", "a#b", "-1", ".inf",
    ".nan", "2024-01-01", "x - y", "!!float 3",
)  # fmt: skip
FLOWS = ("[]", "{}", "[1, true]", "{a: 1, b: {c: 2}}", "{a: 1, }", "{a: , b: }", '{"a":1}', "[[1], {a: 2}]")
RARE_FLOWS = ("[a: 1]", "{a, b: 1}")  # in which some values cannot be set
COMMENTS = ("", "", "", "  # see: docs", " # - x", "  #", "   ")
KEYS = ("a", "b", "'c'", '"d"', "7", "e-f", "? g")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["y", "No", "1", "1.0", "", "# x", "- a", "a: b", "*x", "<<", "2024-01-01", "\x85", "\u2028"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@dataclass(frozen=True)
class Line:
    """A line of a document: the keys of the value that begins in it, or that it belongs to."""

    path: Path
    text: str
    is_flow: bool = False

    def may_change(self, path: Path) -> bool:
        """Returns whether an edit of the value at `path` may change the line."""
        return self.path[: len(path)] == path or (self.is_flow and path[: len(self.path)] == self.path)


@st.composite
def documents(draw: st.DrawFn, *, with_rare: bool) -> list[Line]:
    """Draws the lines of a document."""
    lines = list(_Writer(draw, with_rare).mapping((), 0, 0))
    ends = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    last = draw(st.sampled_from([ends, ends, ends + ends, "" if with_rare else ends]))
    return [Line(line.path, line.text + (ends if line is not lines[-1] else last), line.is_flow) for line in lines]


class _Writer:
    def __init__(self, draw: st.DrawFn, with_rare: bool) -> None:
        self._draw = draw
        self._flows = FLOWS + RARE_FLOWS if with_rare else FLOWS
        self._anchors = ["x", "y"] if with_rare else []
        self._known: list[str] = []

    def _one_of(self, *items: Any) -> Any:
        return self._draw(st.sampled_from(items))

    def mapping(self, path: Path, indent: int, depth: int) -> Iterator[Line]:
        keys = self._draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True))
        for key in keys:
            yield from self._comment(path, indent)
            sign = "\n" + " " * indent + ":" if key.startswith("?") else self._one_of(":", ":", ":", " :")
            name = key.strip("'\"? ")
            yield from self._value((*path, name), f"{' ' * indent}{key}{sign}", indent, depth, False)

    def sequence(self, path: Path, indent: int, depth: int) -> Iterator[Line]:
        for number in range(self._draw(st.integers(1, 3))):
            yield from self._comment(path, indent)
            inner = (*path, str(number))
            kind = self._one_of("value", "value", "mapping", "sequence")
            if depth > 2 or kind == "value":
                yield from self._value(inner, f"{' ' * indent}-", indent, depth, True)
                continue
            write: Callable[..., Iterator[Line]] = getattr(self, kind)
            first, *others = write(inner, indent + 2, depth + 1)
            if first.text.lstrip().startswith("#"):
                yield Line(inner, f"{' ' * indent}-")
                yield from [first, *others]
            else:
                yield Line(first.path, f"{' ' * indent}- {first.text[indent + 2 :]}", first.is_flow)
                yield from others

    def _comment(self, path: Path, indent: int) -> Iterator[Line]:
        if self._one_of(True, False, False, False):
            yield Line(path, self._one_of("# x: y", f"{' ' * indent}# - z: 1", "") if path else "# top: 1")

    def _value(self, path: Path, start: str, indent: int, depth: int, is_list_entry: bool) -> Iterator[Line]:
        if self._known and self._one_of(True, False, False):
            yield Line(path, f"{start} *{self._one_of(*self._known)}{self._one_of(*COMMENTS)}")
            return
        anchor = self._anchors.pop(0) if self._anchors and self._one_of(True, False) else ""
        yield from self._own_value(path, f"{start} &{anchor}" if anchor else start, indent, depth, is_list_entry)
        self._known += [anchor] if anchor else []

    def _own_value(self, path: Path, start: str, indent: int, depth: int, is_list_entry: bool) -> Iterator[Line]:
        kinds = ["scalar", "scalar", "empty", "flow", "text", "lines"] + ["block", "block"] * (depth < 3)
        kind, comment = self._one_of(*kinds), self._one_of(*COMMENTS)
        if kind == "empty":
            yield Line(path, start + comment)
        elif kind == "scalar":
            yield Line(path, f"{start}{self._one_of(' ', '  ')}{self._one_of(*SCALARS)}{comment}")
        elif kind == "flow":
            flow = self._one_of(*self._flows, f"[1, # x: y\n{' ' * indent}   2]", f"{{a: 1 # c\n{' ' * indent}  }}")
            yield Line(path, f"{start} {flow}{comment}", is_flow=True)
        elif kind == "lines":
            yield Line(path, f"{start} one\n{' ' * indent}  two")
        elif kind == "text":
            yield from self._text(path, start, indent)
        else:
            yield Line(path, start + comment)
            is_list = self._one_of(True, False)
            inner = indent + self._one_of(*([0, 2, 3] if is_list and not is_list_entry else [2, 3]))
            write = self.sequence if is_list else self.mapping
            yield from write(path, inner, depth + 1)

    def _text(self, path: Path, start: str, indent: int) -> Iterator[Line]:
        style = self._one_of("|", ">", "|-", ">-", "|+", ">+", "| # c+", "|2")
        yield Line(path, f"{start} {style}")
        for text in self._one_of([], ["one"], ["one", "", "two: 2"], ["one", ""], ["# one", "", ""]):
            yield Line(path, f"{' ' * indent}  {text}" if text else "")
