"""Draws docs/terminal-*.svg: `plan`, a run in progress, its end, `compare` and `predict`, from their real output.

    git clone . /tmp/pictures && python -m tests.support.terminal_pictures /tmp/pictures MNIST

The folder is a clone of this project without results, on which the commands run: digits in place of MNIST. MNIST is
another clone, with the results of `inkflow run`: its model `cnn` answers `predict`.
"""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from rich.text import Text

from tests.support.pictures import draw, encoded, scan
from tests.support.root import ROOT
from tests.support.terminal import Screen, frames, run_on_terminal

COLUMNS = 100
BAR = re.compile(r"(\d+) of (\d+)\D*\d:\d\d")  # of a stage that runs: epochs
LINES, END_LINES = 27, 15  # of the screen of a run, and of its end
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # of Rich's template, from a server


def picture(name: str, title: str, screen: str) -> None:
    """Writes docs/terminal-NAME.svg with the lines of `screen`."""
    lines = screen.rstrip().splitlines()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), overflow="fold")
    svg = FONTS.sub("", console.export_svg(title=title, theme=DEFAULT_TERMINAL_THEME, unique_id=f"terminal-{name}"))
    (ROOT / "docs" / f"terminal-{name}.svg").write_text(svg.rstrip() + "\n", encoding="utf-8")


def inkflow(folder: Path, *arguments: str) -> str:
    """Runs a command of Inkflow on a terminal, and returns what it wrote."""
    environment = {"PYTHONPATH": str(folder)}
    code, text = run_on_terminal([sys.executable, "-m", "flows", *arguments], folder, COLUMNS, environment)
    print(f"inkflow {' '.join(arguments)}: exit code {code}", flush=True)
    return text


def screen_of(text: str) -> str:
    """Returns the screen after `text`."""
    screen = Screen()
    screen.write(text)
    return "\n".join(screen.lines)


def middle_frame(text: str) -> str:
    """Returns the last lines of the screen of a run, at the first moment when most bars show an unfinished epoch."""
    screens = [(screen.text, "\n".join(screen.lines[-LINES:])) for screen in frames(text, 400)]
    return max(screens, key=lambda item: sum(int(done) < int(of) for done, of in BAR.findall(item[0])))[1]


def commit(folder: Path, message: str) -> None:
    """Commits all changes in `folder`."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *identity, "commit", "-qam", message], cwd=folder, check=True)


def draw_runs(folder: Path) -> None:
    """Draws a run, its end, a plan after a change, and the comparison of the two results."""
    run = inkflow(folder, "run", "--dataset", "digits", "--no-server")
    picture("run", "inkflow run --dataset digits", middle_frame(run))
    picture("end", "inkflow run --dataset digits", "\n".join(screen_of(run).rstrip().splitlines()[-END_LINES:]))
    commit(folder, "digits")
    params = folder / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("    epochs: 5", "    epochs: 2", 1), encoding="utf-8")
    picture("plan", "inkflow plan", screen_of(inkflow(folder, "plan")))
    inkflow(folder, "run", "--no-server")
    picture("compare", "inkflow compare HEAD", screen_of(inkflow(folder, "compare", "HEAD")))


def draw_predict(folder: Path) -> None:
    """Draws the answers for scans of digits, a letter, and files that are empty."""
    box = folder / "scans"
    box.mkdir(exist_ok=True)
    for digit in range(6):
        (box / f"{digit}.png").write_bytes(encoded(scan(digit, 20 + digit), "PNG"))
    (box / "K.png").write_bytes(encoded(draw("K"), "PNG"))
    for name in ("empty-1.png", "empty-2.png", "empty-3.png"):
        (box / name).write_bytes(b"")
    picture("predict", "inkflow predict cnn scans", screen_of(inkflow(folder, "predict", "cnn", "scans")))


def main() -> int:
    """Runs the commands and draws all pictures."""
    digits, mnist = map(Path, sys.argv[1:])
    draw_runs(digits)
    draw_predict(mnist)
    return 0


if __name__ == "__main__":
    sys.exit(main())
