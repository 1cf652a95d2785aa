"""Prints the page template of `dvc plots` with the JavaScript inside: `python -m stages.charts.dvc_plots`.

DVC's own page loads Vega from the network. DVC fills `{plot_divs}` and `{refresh_tag}` of the template that its setting
`plots.html_template` names.
"""

from pathlib import Path

from stages.charts.vega import javascript

TEMPLATES = Path(__file__).parent / "templates"


def page_template() -> str:
    """Returns the page of about 0.9 MB, which loads nothing."""
    page = _read("html")
    for place, text in (("css", _read("css")), ("javascript", _read("js")), ("vega", javascript())):
        page = page.replace(f"<!-- {place} -->", text)
    return page


def _read(kind: str) -> str:
    return (TEMPLATES / f"dvc_plots.{kind}").read_text(encoding="utf-8")


if __name__ == "__main__":
    print(page_template(), end="")
