"""Graphs to measure, as DVC projects in empty folders."""

import subprocess
import sys
from pathlib import Path

GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost")


def wide(folder: Path, count: int, seconds: float) -> None:
    """`count` independent stages that each take `seconds`, and a join of all.

    step@0 ─┬─ join
    step@1 ─┤
    ...    ─┘
    """
    names = [str(number) for number in range(count)]
    joined = " ".join(f"out-{name}" for name in names)
    _write(folder, [_foreach("step", names, seconds, "in"), _stage("join", f"cat {joined} > joined", joined, "joined")])


def layers(folder: Path, depth: int, width: int, seconds: float) -> None:
    """`depth` layers of `width` stages, each reading two of the layer above it."""
    stages = []
    for layer in range(depth):
        for number in range(width):
            above = {f"out-{layer - 1}-{(number + step) % width}" for step in (0, 1)} if layer else {"in"}
            reads, out = " ".join(sorted(above)), f"out-{layer}-{number}"
            command = f"sleep {seconds}; cat {reads} p > {out}"
            stages.append(_stage(f"s{layer}x{number}", command, f"{reads} p", out))
    _write(folder, stages)


def _stage(name: str, command: str, reads: str, writes: str) -> str:
    return f"  {name}:\n    cmd: {command}\n    deps: [{', '.join(reads.split())}]\n    outs: [{writes}]\n"


def _foreach(name: str, items: list[str], seconds: float, reads: str) -> str:
    command = f"sleep {seconds}; cat {reads} > out-${{item}}"
    return (
        f"  {name}:\n    foreach: [{', '.join(items)}]\n    do:\n"
        f'      cmd: {command}\n      deps: [{reads}]\n      outs: ["out-${{item}}"]\n'
    )


def _write(folder: Path, stages: list[str]) -> None:
    """Make a project with git, as people have it, and nothing in its cache."""
    folder.mkdir(parents=True)
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, check=True)
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    (folder / "in").write_text("one\n")
    (folder / "p").write_text("p\n")
    (folder / ".gitignore").write_text("/out-*\n/joined\n/.inkflow\n")
    subprocess.run([*GIT, "add", "--all"], cwd=folder, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message", "bench"], cwd=folder, check=True)
