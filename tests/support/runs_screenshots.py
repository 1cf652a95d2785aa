"""Takes the screenshots of docs/runs.md, from the page over the runs of a project.

python -m tests.support.runs_project PROJECT && python -m tests.support.runs_screenshots PROJECT

A picture ends below the last line of the table that it has whole.
"""

import sys
from pathlib import Path
from typing import Literal

from tests.support.chromium import open_chromium, open_page
from tests.support.root import ROOT

PAGE = Path(".inkflow/report/runs.html")
Scheme = Literal["light", "dark"]
# Width and height, colour scheme and address of each screenshot; {pair} is two versions.
SCREENSHOTS: dict[str, tuple[int, int, Scheme, str]] = {
    "runs": (1280, 860, "light", ""),
    "runs-dark": (1280, 860, "dark", "#open=sweep-2"),
    "runs-compare": (1280, 760, "light", "#tick={pair}"),
    "runs-phone": (390, 1100, "light", ""),
}
# The two newest versions on the same data whose chosen models differ.
PAIR = """() => {
  const { rows } = JSON.parse(document.getElementById("data").textContent);
  const scored = rows.filter((row) => row.kind === "commit" && row.best).reverse();
  const model = (row) => row.models[row.best].predictions;
  const other = scored.find((row) => row.data === scored[0].data && model(row) !== model(scored[0])) ?? scored[0];
  return `${scored[0].id},${other.id}`;
}"""

END = """() => Math.max(...[...document.querySelectorAll(".versions tr")]
  .map((line) => Math.ceil(line.getBoundingClientRect().bottom) + 1).filter((bottom) => bottom <= innerHeight))"""


def main() -> int:
    """Takes all screenshots."""
    page_file = (Path(sys.argv[1]) if len(sys.argv) > 1 else Path()).resolve() / PAGE
    if not page_file.exists():
        print(f"error: {page_file} is missing; run `inkflow report --runs` to write it", file=sys.stderr)
        return 2
    with open_chromium() as browser:
        for name, (width, height, colours, address) in SCREENSHOTS.items():
            page = open_page(browser, viewport={"width": width, "height": height}, color_scheme=colours)
            page.goto(page_file.as_uri())
            pair = page.evaluate(PAIR) if "{pair}" in address else ""
            if address:
                page.goto("about:blank")
                page.goto(page_file.as_uri() + address.format(pair=pair))
            page.wait_for_selector("html[data-ready]", state="attached")
            if pair:
                page.locator("#compare").evaluate("part => part.scrollIntoView()")
            end = height if pair else page.evaluate(END)
            clip = {"x": 0, "y": 0, "width": width, "height": end}
            page.screenshot(path=ROOT / "docs" / f"{name}.png", animations="disabled", clip=clip)  # type: ignore[arg-type]
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
