"""A parsed HTML page for tests: elements, attributes, text."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "wbr"}


class Page(HTMLParser):
    """The elements of a page with their attributes and their text. Asserts that the tags are nested correctly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        element = (tag, dict(attrs), list[str]())
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Records an element without content."""
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        """Closes the element that was opened last."""
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        """Adds text to every open element."""
        for _, _, texts in self._open:
            texts.append(data)

    def every(self, tag: str, css: str = "") -> list[tuple[dict[str, str | None], str]]:
        """Returns attributes and text of the elements `tag`, optionally of a CSS class."""
        return [
            (attributes, " ".join("".join(texts).split()))
            for name, attributes, texts in self.elements
            if name == tag and css in (attributes.get("class") or "")
        ]

    def text(self, tag: str, css: str = "") -> str:
        """Returns the text of the only element `tag`, optionally of a CSS class."""
        (element,) = self.every(tag, css)
        return element[1]

    def panels(self) -> list[str]:
        """Returns the names of the models with a section, in the order of the page."""
        return [(attributes["id"] or "").removeprefix("model-") for attributes, _ in self.every("article")]
