"""Writes the generated parts of docs/architecture.md: the walls, the metrics of the rooms, what reruns.

`python -m tests.architecture.document` writes them; with `--check` it writes nothing and fails when one is stale.
"""

import argparse
import ast
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import InvalidInput, exit_with
from stages.base.files import write_text
from tests.architecture.modules import (
    PACKAGES,
    declared_modules,
    dvc_stages,
    layers,
    module_path,
    needed_modules,
    rooms,
)
from tests.support.root import ROOT

PAGE = Path("docs/architecture.md")
WIDTH = 100  # characters of the drawing


def walls() -> str:
    """The layers of both packages as a drawing, and what each room is for."""
    drawings = [drawing(package, layers(package)) for package in PACKAGES]
    rows = [
        f"| `{package}.{name}` | {purpose(f'{package}.{name}')} |"
        for package in PACKAGES
        for layer in layers(package)
        for name in layer
    ]
    return "\n\n".join([*drawings, "\n".join(["| room or flow | what it is for |", "|---|---|", *rows])])


def drawing(package: str, levels: Sequence[Sequence[str]]) -> str:
    """A box for each layer, the highest first."""
    rule = "+" + "-" * WIDTH + "+"
    lines = [f"|{' | '.join(level).center(WIDTH)}|" for level in levels]
    return "\n".join(["```text", f"{package}: imports go down", rule, *(f"{line}\n{rule}" for line in lines), "```"])


def purpose(module: str) -> str:
    """First sentences of a module: its docstring up to the first empty line."""
    docstring = ast.get_docstring(ast.parse((ROOT / module_path(module)).read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def metrics() -> str:
    """A line for each room."""
    head = "| room | modules | lines | functions | median lines | longest | imports out | imports in |"
    rows = [
        f"| `{room.name}` | {len(room.modules)} | {room.lines} | {len(room.functions)} | {room.median:g} "
        f"| {max(room.functions, default=0)} | {room.imports_out} | {room.imports_in} |"
        for room in rooms()
    ]
    return "\n".join([head, "|---|" + "---:|" * 7, *rows])


def reruns() -> str:
    """A line for each module of `stages` that a stage depends on."""
    stages = list(dvc_stages())
    needed = {stage: needed_modules(stage) for stage in stages}
    declared = {stage: declared_modules(stage) for stage in stages}
    rows = []
    for module in sorted(set().union(*declared.values())):
        marks = ["●" if module in needed[stage] else "○" if module in declared[stage] else "" for stage in stages]
        rows.append(f"| `{module.removeprefix('stages.')}` | " + " | ".join(marks) + " |")
    head = "| module of `stages` | " + " | ".join(stages) + " |"
    return "\n".join([head, "|---|" + ":-:|" * len(stages), *rows])


PARTS = {"walls": walls, "metrics": metrics, "reruns": reruns}


def fresh(page: str) -> str:
    """The text of the page with its generated parts written anew."""
    for name, part in PARTS.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(page):
            raise InvalidInput(f"{PAGE}: no part between {begin} and {end}, expected one; put these two lines back")
        page = pattern.sub(f"{begin}\n{part()}\n{end}".replace("\\", "\\\\"), page)
    return page


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the generated parts of docs/architecture.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture.document", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a part is stale")
    given = parser.parse_args(argv)
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    if fresh(text) == text:
        return 0
    if given.check:
        raise InvalidInput(f"{PAGE}: not what the code says; write it again with `make architecture`")
    write_text(ROOT / PAGE, fresh(text))
    print(f"wrote {PAGE}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
