"""Random graphs with random edits between runs: each run does what the plan says.

The environment variable INKFLOW_EXAMPLES sets the number of graphs.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from flows.engine.types import Outcome
from tests.conftest import Toy
from tests.flows.engine.helpers import delete_cache, dvc_repro, locks, outcomes, run_as_planned, status, twin

EXAMPLES = int(os.environ.get("INKFLOW_EXAMPLES", "25"))
KINDS = ("file", "file", "folder", "uncached", "metric", "shared", "persist")


@dataclass
class Node:
    """One stage of a random graph: makes one output from inputs, outputs of other stages and parameters."""

    name: str
    kind: str
    reads: list[str]
    params: list[str]
    constant: bool  # its output does not depend on its inputs, so that stages downstream stay unchanged
    always: bool
    comment: int = 0
    frozen: bool = False

    @property
    def output(self) -> str:
        """The path of the output."""
        return f"shop/{self.name}" if self.kind == "shared" else self.name

    @property
    def file(self) -> str:
        """The path of the file that the command writes: the output, or a file in it."""
        return f"{self.output}/inner/file" if self.kind == "folder" else self.output

    def entry(self) -> dict[str, object]:
        """Returns the entry of the stage in dvc.yaml."""
        read = "echo same" if self.constant else f"echo {' '.join(self.reads)}; cat {' '.join(map(_files, self.reads))}"
        folder = str(Path(self.file).parent)
        command = f"mkdir -p {folder}; (echo {self.name} {self.comment}; {read}) > {self.file}"
        out: object = {
            "uncached": {self.output: {"cache": False}},
            "metric": {self.output: {"cache": False}},
            "persist": {self.output: {"persist": True}},
        }.get(self.kind, self.output)
        entry: dict[str, object] = {"cmd": command, "deps": self.reads, "params": self.params}
        entry["metrics" if self.kind == "metric" else "outs"] = [out]
        flags = {"always_changed": self.always, "frozen": self.frozen}
        return entry | {name: True for name, is_set in flags.items() if is_set}


def _files(path: str) -> str:
    """Returns shell code for the names of the files at `path`."""
    return f"$(find {path} -type f | sort)"


@dataclass
class Graph:
    """A random graph with the versions of its inputs and parameters."""

    nodes: list[Node]
    inputs: dict[str, int] = field(default_factory=lambda: {"in0": 0, "in1": 0})
    params: dict[str, int] = field(default_factory=lambda: {"p0": 0, "p1": 0})

    def write(self, folder: Path) -> None:
        """Writes the files that have changed."""
        stages = {node.name: {key: value for key, value in node.entry().items() if value} for node in self.nodes}
        _dump({"stages": stages}, folder / "dvc.yaml")
        _dump(self.params, folder / "params.yaml")
        for name, version in self.inputs.items():
            _write(folder / name, f"{name} {version}\n")


def _dump(content: object, path: Path) -> None:
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.unlink(missing_ok=True)
        path.write_text(text)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draws up to six stages with all kinds of outputs, of which some read a file in a folder, or a shared folder."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 6))):
        paths = [path for node in nodes for path in {node.output, node.file}]
        shop = ["shop"] if any(node.kind == "shared" for node in nodes) else []
        reads = draw(st.lists(st.sampled_from(["in0", "in1", *paths, *shop]), min_size=1, max_size=3, unique=True))
        is_shop_read = any("shop" in paths for paths in [reads, *(node.reads for node in nodes)])
        kinds = [
            kind for kind in KINDS if kind != "shared" or not is_shop_read
        ]  # a reader of the folder may be upstream
        kind = draw(st.sampled_from(kinds))
        params = draw(st.lists(st.sampled_from(["p0", "p1"]), unique=True, max_size=2))
        often = st.sampled_from([True, False, False, False])
        nodes.append(Node(f"s{number}", kind, reads, params, draw(often), draw(st.integers(0, 9)) == 9))
    return Graph(nodes)


Edit = Callable[[Graph, list[Path]], None]


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """Draws one edit that a user may do between two runs."""
    which, number = draw(st.integers(0, 5)), draw(st.integers(0, 2))
    kind = draw(
        st.sampled_from(
            ["input", "input", "param", "param", "command", "delete", "edit", "lose cache", "lose runs", "freeze",
             "lose lock", "lose one"]
        )
    )  # fmt: skip

    def edit(graph: Graph, folders: list[Path]) -> None:
        node = graph.nodes[which % len(graph.nodes)]
        if kind == "input":
            graph.inputs[f"in{which % 2}"] = number
        elif kind == "param":
            graph.params[f"p{which % 2}"] = number
        elif kind == "command":
            node.comment = number
        elif kind == "freeze":
            node.frozen = not node.frozen and (folders[0] / node.file).exists()
        else:
            for folder in folders:
                _damage(kind, node, folder, any(other.frozen for other in graph.nodes))

    return edit


def _damage(kind: str, node: Node, folder: Path, frozen: bool) -> None:
    """Deletes or edits a file, unless a frozen stage needs it: nothing could make it again."""
    path = folder / node.file
    if kind == "delete" and not frozen and path.exists():
        path.unlink()
    elif kind == "edit" and path.exists() and not frozen:
        path.unlink()
        path.write_text("by hand\n")
    elif kind == "lose cache" and not frozen:
        delete_cache(folder)
    elif kind == "lose runs":
        shutil.rmtree(folder / ".dvc" / "cache" / "runs", ignore_errors=True)
    elif kind == "lose lock" and not frozen:
        (folder / "dvc.lock").unlink(missing_ok=True)
    elif kind == "lose one" and not frozen:
        contents = sorted(path for path in (folder / ".dvc/cache/files").rglob("*") if path.is_file())
        for content in contents[:1]:
            content.unlink()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty DVC project to copy, which is faster than to create one."""
    folder = tmp_path_factory.mktemp("empty")
    Toy(folder)
    return folder


@pytest.mark.timeout(60 + 20 * EXAMPLES)
@settings(
    derandomize="INKFLOW_EXAMPLES" not in os.environ,  # the same examples each time, unless the variable is set
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes
)
@given(graph=graphs(), rounds=st.lists(st.lists(edits(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_runs_follow_the_plan(empty: Path, graph: Graph, rounds: list[list[Edit]]) -> None:
    """After any edits the run follows the plan, the status is clean, and dvc.lock is equal to that of `dvc repro`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "toy"
        shutil.copytree(empty, folder)
        graph.write(folder)
        with chdir(folder):
            copy = twin(folder)
            _bring_up_to_date(graph)
            dvc_repro(copy)
            assert locks(folder) == locks(copy)
            for edits_ in rounds:
                for edit in edits_:
                    edit(graph, [folder, copy])
                for project in (folder, copy):
                    graph.write(project)
                _bring_up_to_date(graph)
                dvc_repro(copy)
                assert locks(folder) == locks(copy)


def _bring_up_to_date(graph: Graph) -> None:
    run_as_planned()
    assert status() == {}
    second = outcomes(run_as_planned())  # a stage that always runs gives equal outputs: stages downstream stay
    assert second == {
        node.name: Outcome.RAN if node.always and not node.frozen else Outcome.UNCHANGED for node in graph.nodes
    }
