"""A page as a reader's program sees it: elements, attributes, text."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "wbr"}


class Page(HTMLParser):
    """A parsed page: its elements with their attributes and all the text within, and a check of nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        element = (tag, dict(attrs), list[str]())
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element without content."""
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        """Close an element; it must be the one that was opened last."""
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        """Add text to every element around it."""
        for _, _, texts in self._open:
            texts.append(data)

    def every(self, tag: str, **wanted: str) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and text of the elements `tag`, with a class where one is `wanted`."""
        return [
            (attributes, " ".join("".join(texts).split()))
            for name, attributes, texts in self.elements
            if name == tag and wanted.get("css", "") in (attributes.get("class") or "")
        ]

    def text(self, tag: str, **wanted: str) -> str:
        """Text of the only such element."""
        (element,) = self.every(tag, **wanted)
        return element[1]

    def panels(self) -> list[str]:
        """Names of the models that have a section of their own, in the order of the page."""
        return [(attributes["id"] or "").removeprefix("model-") for attributes, _ in self.every("article")]
