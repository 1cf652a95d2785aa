"""Texts of strangers that try to become more than text, and what must be true of everything that was made of them.

`PAYLOADS` are the texts, `CHECKS` the judges by kind of output: each compares the output with that of harmless texts.
"""

import csv
import io
import json
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from flows.registry.tags import trailers

HARMLESS = "plain"
FORGED = "+ forged   ran"  # a line of a run that never was
CANARY = "canary"  # a file that only a command hidden in a text makes
PAYLOADS: Mapping[str, str] = {
    "html": '"><img src=x onerror="document.title=1"><script>document.title=1</script><!--',
    "html in an attribute": "' onmouseover='document.title=1' style='x:expression(1)",
    "end of a script": "</script></style><svg onload=document.title=1>]]>",
    "link": "[x](javascript:document.title=1) ![i](http://127.0.0.1:9/i) <http://127.0.0.1:9/> &lt;img&gt;",
    "emphasis": "**b** _i_ ~~s~~ # h",
    "table": "a | b |\n|---|---|\n| c | d |",
    "code": "`` ` ``` <img src=x> ```",
    "shell": f"$(touch {CANARY}) `touch {CANARY}`; touch {CANARY} & 'touch {CANARY}' \"$(touch {CANARY})\"",
    "yaml": "a: [b, {c: &d !!python/object/apply:os.system ['touch canary']}] # e",
    "type": "yes",
    "terminal": "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b]8;;http://127.0.0.1:9\x1b\\l\x1b]8;;\x1b\\\x9b2J\x08\x08",
    "direction": "abc\u202egnp.exe\u2066\u200b\u2028\ufeff",
    "new line": f"one\n{FORGED}\r\nerror: forged\rtwo",
    "path": f"../../../{CANARY}",
    "absolute path": f"/{CANARY}\x00x",
    "formula": '=HYPERLINK("http://127.0.0.1:9","x")|\'cmd\'!A1',
    "format": "{0.__class__} {} %s %(x)d ${item} {{7*7}} {% raw %} $HOME",
    "rich": "[red]r[/red] [/x] [link=http://127.0.0.1:9]l[/link] :boom: [@click=app.quit]q[/]",
    "vega": '"+datum.constructor("document.title=1")()+"',
    "not utf-8": "a\udcffb",
    "option": "--upload-pack=touch canary",
    "not in XML": "a\ufffeb\uffffc",
    "mention": "@team www.evil.com ftp://evil.com/x bob@evil.com",
    "formula with a sign": "+cmd|' /C calc'!A1",
}
SAFE_CONTROLS = re.compile(r"\x1b\[(?:\?25[lh]|[\d;]*m|\d*A|2K)|\r(?=\x1b|\n|$)")  # what Rich writes itself
GITHUB = ["table", "strikethrough", "linkify"]  # beyond CommonMark
MENTION = re.compile(r"(?<![A-Za-z0-9_])@[A-Za-z0-9]\S*")
Check = Callable[[str, str, str], None]


class Elements(HTMLParser):
    """The elements of a page, each with the names of its attributes, as a parser of HTML finds them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.addresses: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Counts an element; notes the scheme of its addresses."""
        self.found[tag, tuple(sorted(name for name, _ in attrs))] += 1
        for name, value in attrs:
            if name in ("href", "src", "action", "formaction", "data", "xlink:href") and value:
                scheme = re.match(r"[\s\x00-\x1f]*([a-z][a-z0-9+.-]*):", value, re.IGNORECASE)
                self.addresses.add(scheme[1].lower() if scheme else "relative")


def check_html(output: str, harmless: str, payload: str) -> None:
    """The page has the same kinds of elements, attributes and addresses as with a harmless text."""
    found, expected = Elements(output), Elements(harmless)
    assert found.found.keys() - expected.found.keys() <= {("wbr", ())}, found.found.keys() - expected.found.keys()
    assert found.addresses <= expected.addresses, found.addresses - expected.addresses
    assert {tag: count for (tag, _), count in found.found.items() if tag in ("script", "style", "img", "svg")} == {
        tag: count for (tag, _), count in expected.found.items() if tag in ("script", "style", "img", "svg")
    }


def check_markdown(output: str, harmless: str, payload: str) -> None:
    """The text has no HTML, link, picture or row of its own; as CommonMark with tables and bare links, as GitHub's."""
    found, expected = (_markdown(text) for text in (output, harmless))
    for kind in found | expected:
        if kind not in ("text", "softbreak", "code_inline", "text_special"):
            assert found[kind] == expected[kind], f"{kind}: {found[kind]} instead of {expected[kind]}"
    assert not (mentions := MENTION.findall(_plain_text(output))), mentions


def check_terminal(output: str, harmless: str, payload: str) -> None:
    """A terminal gets no control sequence but those of Rich, no invisible character, and no line that was forged."""
    rest = SAFE_CONTROLS.sub("", output)
    odd = sorted({letter for letter in rest if not letter.isprintable() and letter != "\n"})
    assert not odd, f"{odd} in {rest[:500]!r}"
    forged = [line for line in rest.splitlines() if line.startswith((FORGED, "error: forged"))]
    assert not forged, forged


def check_yaml(output: str, harmless: str, payload: str) -> None:
    """The file reads back, and holds the text as it was."""
    content = YAML(typ="safe").load(output)
    assert payload in list(_values(content)), (payload, content)


def check_csv(output: str, harmless: str, payload: str) -> None:
    """The table has the rows and columns of that with a harmless text, and no cell without quotes starts a formula."""
    rows, expected = (list(csv.reader(io.StringIO(text))) for text in (output, harmless))
    assert [len(row) for row in rows] == [len(row) for row in expected]
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "@", "\t", "\r")), cell
        assert not cell.startswith(("+", "-")) or re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", cell), cell


def check_xml(output: str, harmless: str, payload: str) -> None:
    """The file is XML with the elements of that with a harmless text."""
    found, expected = (ElementTree.fromstring(text) for text in (output, harmless))
    assert [element.tag for element in found.iter()] == [element.tag for element in expected.iter()]


def check_svg(output: str, harmless: str, payload: str) -> None:
    """The picture is XML that has no script, no handler and no address."""
    for element in ElementTree.fromstring(output).iter():
        assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "a", "image", "use"), element.tag
        assert not [name for name in element.attrib if name.lower().startswith("on") or "href" in name], element.attrib


def check_table(output: str, harmless: str, payload: str) -> None:
    """The JSON has the rows and columns of that with a harmless text, and no cell has an invisible character."""
    rows, expected = (json.loads(text) for text in (output, harmless))
    assert [list(row) for row in rows] == [list(row) for row in expected]
    odd = [cell for row in rows for cell in row.values() if not str(cell).replace("\n", "").isprintable()]
    assert not odd, odd


def check_metrics(output: str, harmless: str, payload: str) -> None:
    """Prometheus reads the same metrics and labels as with a harmless text."""
    found, expected = (
        [(sample.name, *sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples]
        for text in (output, harmless)
    )
    assert found == expected, found


def check_trailers(output: str, harmless: str, payload: str) -> None:
    """The message has the facts of that with a harmless text, as Git and the registry read it, and is fit to print."""
    assert trailers(output).keys() == trailers(harmless).keys(), output
    command = ["git", "interpret-trailers", "--parse"]
    done = subprocess.run(command, input=output.encode(), capture_output=True, check=True, timeout=60).stdout.decode()
    assert [line.partition(":")[0] for line in done.split("\n")] == ["Forced", "Compared", "MD5", ""], done
    check_terminal(output, harmless, payload)


def check_file_name(output: str, harmless: str, payload: str) -> None:
    """The name is that of a file in its folder, short enough for file systems."""
    assert output not in ("", ".", "..") and not set(output) & set("/\x00"), output
    assert len(output.encode(errors="surrogateescape")) <= 255


def check_reference(output: str, harmless: str, payload: str) -> None:
    """The name is one of a file, of a reference in Git and of a command's argument."""
    check_file_name(output, harmless, payload)
    assert re.fullmatch(r"[\w=,+@.-]+", output) and not output.startswith(("-", ".")) and ".." not in output, output


def check_shell(output: str, harmless: str, payload: str) -> None:
    """A shell that gets the command makes no canary."""
    with tempfile.TemporaryDirectory() as folder:
        command = output.encode(errors="surrogateescape").replace(b"\x00", b"")
        subprocess.run([b"/bin/sh", b"-c", command], cwd=folder, capture_output=True, timeout=240, check=False)
        assert not list(Path(folder).iterdir()), output


CHECKS: Mapping[str, Check] = {
    "html": check_html,
    "markdown": check_markdown,
    "terminal": check_terminal,
    "yaml": check_yaml,
    "csv": check_csv,
    "xml": check_xml,
    "svg": check_svg,
    "table": check_table,
    "metrics": check_metrics,
    "trailers": check_trailers,
    "file name": check_file_name,
    "reference": check_reference,
    "shell": check_shell,
}


def _tokens(text: str) -> list[Token]:
    parser = MarkdownIt("commonmark", {"linkify": True}).enable(GITHUB)
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # not all pages refuse the schemes that it does
    return parser.parse(text)


def _plain_text(text: str) -> str:
    """Returns what a page shows of Markdown, without code: GitHub looks for mentions in it."""
    children = [
        child for token in _tokens(text) for child in [*(token.children or []), token] if token.type == "inline"
    ]
    return "".join(child.content if child.type in ("text", "text_special") else "\n" for child in children)


def _markdown(text: str) -> Counter[str]:
    """Returns the numbers of each kind of token, links and pictures by their scheme."""
    counts: Counter[str] = Counter()
    waiting = _tokens(text)
    while waiting:
        token = waiting.pop()
        waiting += token.children or []
        address = str(token.attrs.get("href") or token.attrs.get("src") or "")
        counts[f"{token.type} {address.partition(':')[0]}".strip()] += 1
    return counts


def _values(content: object) -> list[object]:
    if isinstance(content, dict):
        return [value for pair in content.items() for item in pair for value in _values(item)]
    return [value for item in content for value in _values(item)] if isinstance(content, list) else [content]
