"""Where the nodes of a YAML document stand in its text; marks of a parser lie behind space, and lines behind a key."""

import re

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

SPACE = r"(?>[ \t\r\n]+|#[^\r\n]*|[&!]\S*)*+"  # space, comments, anchors and tags
ALIAS = re.compile(r"\*[^\s,\[\]{}]+")


def is_block(node: Node) -> bool:
    """Returns whether a mapping or list is in lines below each other."""
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style and bool(node.value)


def value_start(text: str, key: Node) -> int:
    """Returns the index behind the `:` of `key`; behind the key itself if it has none, as in `{key}`."""
    return _behind(text, key.end_mark.index, ":")


def entry_starts(text: str, node: SequenceNode) -> list[int]:
    """Returns the index behind the `-` of each entry of a list, and the end of the last one; `[a, b]` has no signs."""
    starts, end = [], int(node.start_mark.index)
    for item in node.value:
        starts.append(end if node.flow_style else _behind(text, end, "-"))
        end = end_of(text, item, starts[-1])
    return [*starts, end]


def end_of(text: str, node: Node, start: int) -> int:
    """Returns the index after the last character of what is written behind the index `start`: `node`, or an alias.

    The end mark of a block includes the space after it.
    """
    if node.start_mark.index < start:
        alias = ALIAS.search(text, start)
        return alias.end() if alias else start
    if _is_empty(node):
        return start
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        return _end_of_lines(text[: node.end_mark.index], text[node.start_mark.index :].partition("\n")[0])
    if not is_block(node):
        return int(node.end_mark.index)
    if isinstance(node, SequenceNode):
        return entry_starts(text, node)[-1]
    key, value = node.value[-1]
    return end_of(text, value, value_start(text, key))


def with_node(text: str, node: Node, start: int, written: str) -> str:
    """Returns `text` with `written` in place of `node`, which stands behind the index `start`.

    A comment on the line of its key stays, those within its lines go.
    """
    end = end_of(text, node, start)
    if not (is_block(node) or _is_empty(node)):
        return text[: node.start_mark.index] + written + text[end:]
    line_end = start + len(text[start:].partition("\n")[0].rstrip())
    comment = text[start:line_end] if line_end < node.start_mark.index else ""
    return f"{text[:start]} {written}{comment}{text[max(end, start + len(comment)) :]}"


def with_pair(text: str, node: MappingNode, pair: str) -> str:
    """Returns `text` with `pair`, as `key: value`, at the end of the mapping `node`."""
    if node.flow_style and not node.value:
        end = node.end_mark.index - 1
        return text[:end].rstrip() + pair + text[end:]
    key, value = node.value[-1]
    end = end_of(text, value, value_start(text, key))
    if node.flow_style:
        return f"{text[:end]}{' ' * _is_empty(value)}, {pair}{text[end:]}"  # `{b:, c: 1}` has a key `b:,`
    end = text.find("\n", end)
    end = len(text) if end < 0 else end
    first = node.value[0][0].start_mark
    before = text[: first.index].rstrip(" ")
    width = first.index - len(before) + 1 if before.endswith("?") else 0  # of the sign in `? key`
    return f"{text[:end]}\n{' ' * (first.column - width)}{pair}{text[end:]}"


def _behind(text: str, start: int, sign: str) -> int:
    found = re.compile(f"{SPACE}{sign}").match(text, start)
    return found.end() if found else start


def _is_empty(node: Node) -> bool:
    """Returns whether there is no text of the value; its marks may be lines behind its key."""
    return isinstance(node, ScalarNode) and bool(node.start_mark.index == node.end_mark.index)


def _end_of_lines(text: str, header: str) -> int:
    """Returns the index after the last line of a literal or folded value at the end of `text`."""
    is_kept = "+" in header.partition("#")[0]  # the empty lines belong to the value
    return len(text.removesuffix("\n").removesuffix("\r") if is_kept else text.rstrip())
