"""Graphs to measure, as DVC projects in empty folders."""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
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


def recorded_layers(folder: Path, depth: int, width: int, readers: Mapping[str, int]) -> None:
    """`layers` of trivial stages that look as if they had run: outputs, cache and dvc.lock are written here.

    The last stages also read the files in `readers`, each as many as its number says: with another content of such a
    file, they have to run. So the cost of a stage in a large graph is measured without a run of the whole graph.
    """
    stages, entries = [], []
    contents = {"in": "one\n", "p": "p\n"} | {name: f"{name}\n" for name in readers}
    for layer in range(depth):
        for number in range(width):
            above = {f"out-{layer - 1}-{(number + step) % width}" for step in (0, 1)} if layer else {"in"}
            further = [name for name, count in readers.items() if (depth - layer) * width - number <= count]
            reads, out = [*sorted(above), "p", *further], f"out-{layer}-{number}"
            name, command = f"s{layer}x{number}", f"cat {' '.join(reads)} > {out}"
            contents[out] = "".join(contents[read] for read in reads)
            stages.append(_stage(name, command, " ".join(reads), out))
            deps, outs = (
                "".join(_lock_entry(path, contents[path]) for path in paths) for paths in (sorted(reads), [out])
            )
            entries.append(f"  {name}:\n    cmd: {command}\n    deps:\n{deps}    outs:\n{outs}")
    _write(folder, stages)
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages:\n" + "".join(entries))
    for path, content in contents.items():
        (folder / path).write_text(content)
        if path.startswith("out-"):
            digest = _md5(content)
            cached = folder / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_text(content)


def _lock_entry(path: str, content: str) -> str:
    """A file in an entry of dvc.lock."""
    return f"    - path: {path}\n      hash: md5\n      md5: {_md5(content)}\n      size: {len(content)}\n"


def _md5(content: str) -> str:
    return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()


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
