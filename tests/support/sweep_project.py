"""A project with a graph of three stages for sweeps, whose runs and experiments a test can count."""

import csv
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import Toy
from tests.support.commands import dvc

RUNS = "INKFLOW_TEST_RUNS"  # folder with a file for each stage, to which each run appends a line

GRAPH = """
stages:
  source:
    cmd: echo >> $INKFLOW_TEST_RUNS/source; cp in out
    deps: [in]
    outs: [out]
  scale:
    cmd: echo >> $INKFLOW_TEST_RUNS/scale; sleep ${pause}; echo ${scale.by} > scaled
    deps: [out]
    params: [scale]
    outs: [scaled]
  score:
    cmd: sh score.sh ${score.plus}
    deps: [scaled, score.sh]
    params: [score]
    metrics:
      - score.json:
          cache: false
"""
SCORE = """
set -e
echo >> $INKFLOW_TEST_RUNS/score
test $1 != 13 || { echo error: unlucky; exit 1; }
echo "{\\"score\\": $(( $(cat scaled) + $1 ))}" > score.json
"""
PARAMS = "pause: 0\nscale:\n  by: 1 # as it was\nscore: {plus: 0}\n"


class SweepProject(Toy):
    """A committed project with parameters to sweep over, whose stages count their runs outside of it."""

    def __init__(self, folder: Path, counts: Path) -> None:
        super().__init__(folder)
        self.counts = counts
        self.write({"dvc.yaml": GRAPH, "params.yaml": PARAMS, "score.sh": SCORE, "in": "one\n"})
        self.write({".gitignore": "/out\n/scaled\n/.inkflow\n"})
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "begin")

    def git(self, *arguments: str) -> str:
        """Run git and return its output."""
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def dvc(self, *arguments: str) -> str:
        """Run DVC and return its output."""
        return dvc(*arguments, folder=self.folder)

    def ran(self, stage: str) -> int:
        """Return how often a stage ran, in all clones together."""
        path = self.counts / stage
        return len(path.read_text().splitlines()) if path.exists() else 0

    def contents(self) -> dict[str, bytes]:
        """Return the content of each file in the workspace, except those of DVC, git and Inkflow."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.relative_to(self.folder).parts[0] not in {".git", ".dvc", ".inkflow"}
        }

    def remaining_clones(self) -> list[str]:
        """Return the names of clones that were not removed."""
        return [path.name for path in (self.folder / ".dvc/tmp/inkflow").glob("trial-*")]

    def experiments(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `dvc exp show`, by the experiment's name."""
        rows = csv.DictReader(self.dvc("exp", "show", "--csv").splitlines())
        return {row["Experiment"]: row for row in rows if row["Experiment"]}
