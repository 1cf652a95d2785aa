"""Adds and removes entries of a list in a YAML text and keeps every other byte, comments included."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from flows.edits.yaml_document import Document
from flows.edits.yaml_nodes import end_of, entry_starts, value_start, with_node, with_pair
from stages.base.errors import InvalidInput

PLAIN = re.compile(r"[\w.][\w./+@-]*")  # text without quotes
NOT_TEXT = re.compile(r"(true|false|null|yes|no|on|off|[\d.]+)", re.IGNORECASE)
KEEP = re.compile(r"#.*\binkflow: keep\b")  # a comment on the line of an entry that stays


def list_entries(text: str, path: Sequence[str]) -> list[tuple[str, bool]]:
    """Returns the entries of the list at `path` as they stand there; none if it is no list.

    Each comes with True if its line has the comment `# inkflow: keep`.

    Raises:
        InvalidInput: the list is shared through an anchor.
    """
    node = _find(YAML().compose(text), path)
    lines = text.splitlines()
    entries = node.value if isinstance(node, SequenceNode) else []
    return [(str(item.value), bool(KEEP.search(lines[item.start_mark.line]))) for item in entries]


def keys_at(text: str, path: Sequence[str]) -> list[str]:
    """Returns the keys of the mapping at `path`.

    Raises:
        InvalidInput: it is shared through an anchor, or is no mapping.
    """
    node = _find(YAML().compose(text), path)
    return [str(key.value) for key, _ in node.value] if isinstance(node, MappingNode) else []


def edit_list(text: str, path: Sequence[str], add: Sequence[str], remove: Collection[str], before: str | None) -> str:
    """Returns the YAML `text` with other entries in the list at `path`; creates the list if it is missing.

    Args:
        text: the text.
        path: the keys of the mappings that lead to the list.
        add: new entries.
        remove: entries to remove.
        before: the entry before which new ones are added; None for the end.

    Raises:
        InvalidInput: the list is shared through an anchor, is no list, or has no line of its own for an entry; or its
            text cannot be changed without another change of the document.
    """
    root, document = YAML().compose(text), Document(text)
    node = _find(root, path)
    if node is None:
        changed, entries = _create(text, _find(root, path[:-1]), path, add), list(add)
    else:
        if not isinstance(node, SequenceNode):
            raise InvalidInput(f"{_dotted(path)} is no list but {str(node.value)!r}; edit it by hand")
        own = [item for item in node.value if isinstance(item, ScalarNode) and _is_inside(item, node)]
        for entry in sorted(set(remove) - {item.value for item in own}):
            raise InvalidInput(f"{_dotted(path)} has no entry {entry!r} of its own; edit it by hand")
        kept = [item not in own or item.value not in remove for item in node.value]
        place = next((number for number, item in enumerate(node.value) if item.value == before), len(kept))
        entries = _joined(document.value_at(path), kept, add, place)
        if node.flow_style:
            changed = _rewrite(text, node, kept, add, place)
        elif entries:
            changed = _edit_lines(text, node, kept, add, place)
        else:
            parent = _find(root, path[:-1])
            assert isinstance(parent, MappingNode)
            key = next(key for key, value in parent.value if value is node)
            changed = with_node(text, node, value_start(text, key), "[]")
    if not _is_right(document, changed, path, entries):
        raise InvalidInput(f"{_dotted(path)} cannot be changed in the text without other changes; edit it by hand")
    return changed


def _is_right(document: Document, changed: str, path: Sequence[str], entries: Sequence[Any]) -> bool:
    try:
        return document.is_changed_to(changed, path, entries)
    except (YAMLError, ValueError):
        return False


def _joined(items: Sequence[Any], kept: Sequence[bool], add: Sequence[Any], place: int) -> list[Any]:
    """Returns the items that are kept, with those to `add` before the number `place`."""
    numbers = [number for number, is_kept in enumerate(kept) if is_kept]
    before = [items[number] for number in numbers if number < place]
    return [*before, *add, *(items[number] for number in numbers if number >= place)]


def _edit_lines(text: str, node: SequenceNode, kept: Sequence[bool], add: Sequence[str], place: int) -> str:
    """Returns `text` with other entries in a list whose entries have lines of their own."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.removesuffix("\n").removesuffix("\r").split("\n")
    lines = [f"{line}\n" for line in lines[:-1]] + [lines[-1] + newline]
    starts = entry_starts(text, node)
    ends = [end_of(text, item, start) for item, start in zip(node.value, starts, strict=False)]
    first, last = ([text.count("\n", 0, index) for index in indices] for indices in (starts[:-1], ends))
    dropped = {
        line for number, is_kept in enumerate(kept) for line in range(first[number], last[number] + 1) if not is_kept
    }
    indent = lines[first[0]][: node.start_mark.column]
    lines_before = first[place] if place < len(kept) else last[-1] + 1
    added = "".join(f"{indent}- {_quoted(entry, flow=False)}{newline}" for entry in add)
    rest = [line if number not in dropped else "" for number, line in enumerate(lines)]
    result = "".join(rest[:lines_before]) + added + "".join(rest[lines_before:])
    return result if text.endswith("\n") else result.removesuffix(newline)


def _is_inside(item: Node, node: Node) -> bool:
    """Returns False for an entry that stands elsewhere, behind an alias."""
    return bool(node.start_mark.index <= item.start_mark.index < node.end_mark.index)


def _find(root: Node, path: Sequence[str]) -> Node | None:
    """Returns the node at `path`; None if the last key is missing.

    Raises:
        InvalidInput: a node on the way is shared through an anchor, a merge key may have it, or it is missing.
    """
    node: Node = root
    for number, name in enumerate(path, 1):
        if not isinstance(node, MappingNode):
            raise InvalidInput(f"{_dotted(path[: number - 1])} is no mapping in the file; edit it by hand")
        found = next((pair for pair in node.value if str(pair[0].value) == name), None)
        if found is None:
            if number < len(path) or any(key.value == "<<" for key, _ in node.value):
                raise InvalidInput(f"{_dotted(path[:number])} is not in the file itself; edit it by hand")
            return None
        key, node = found
        if node.anchor or node.start_mark.index < key.start_mark.index:
            raise InvalidInput(f"{_dotted(path[:number])} is shared through an anchor; edit it by hand")
    return node


def _create(text: str, parent: Node | None, path: Sequence[str], entries: Sequence[str]) -> str:
    """Returns `text` with a new list in the mapping `parent`, after its first entry."""
    assert isinstance(parent, MappingNode) and parent.value
    name = path[-1]
    if parent.flow_style:
        return with_pair(text, parent, f"{name}: {_flow(entries)}")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    first = parent.value[0][0].start_mark
    indent = lines[first.line][: first.column]
    if indent.strip():
        raise InvalidInput(f"{_dotted(path)} is missing, and its line has other text before it; edit it by hand")
    block = [f"{indent}{name}:{newline}", *(f"{indent}  - {_quoted(entry, flow=False)}{newline}" for entry in entries)]
    place = parent.value[1][0].start_mark.line if len(parent.value) > 1 else first.line
    while place > first.line + 1 and re.match(rf"{indent}#|\s*$", lines[place - 1]):  # comments on the next entry
        place -= 1
    return "".join([*lines[:place], *block, *lines[place:]])


def _rewrite(text: str, node: SequenceNode, kept: Sequence[bool], add: Sequence[str], place: int) -> str:
    """Returns `text` with other entries in a list in brackets, on one line."""
    texts = [text[item.start_mark.index : item.end_mark.index] for item in node.value]
    texts = _joined(texts, kept, [_quoted(entry, flow=True) for entry in add], place)
    return f"{text[: node.start_mark.index]}[{', '.join(texts)}]{text[node.end_mark.index :]}"


def _flow(entries: Sequence[str]) -> str:
    return f"[{', '.join(_quoted(entry, flow=True) for entry in entries)}]"


def _quoted(entry: str, *, flow: bool) -> str:
    """Returns an entry as YAML; an expression of a template needs no quotes in a block."""
    plain = entry if flow else re.sub(r"\$\{[\w.]+\}", "x", entry)
    is_plain = PLAIN.fullmatch(plain) and not NOT_TEXT.fullmatch(plain)
    return entry if is_plain else json.dumps(entry, ensure_ascii=False)


def _dotted(path: Sequence[str]) -> str:
    return ".".join(path) or "the file"
