"""Random graphs with random edits between runs: what the plan says is what then happens, always.

INKFLOW_EXAMPLES sets how many graphs are tried.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from flows.engine.types import Outcome
from tests.conftest import Toy
from tests.flows.engine.toys import dvc_repro, forget_cache, inside, locks, outcomes, run_as_planned, status, twin

EXAMPLES = int(os.environ.get("INKFLOW_EXAMPLES", "25"))
KINDS = ("file", "file", "folder", "uncached", "metric", "shared", "persist")


@dataclass
class Node:
    """One stage of a random graph: it makes one output from some inputs, outputs of others and parameters."""

    name: str
    kind: str
    reads: list[str]
    params: list[str]
    blunt: bool  # its output does not depend on what it reads: what is behind it then stays
    always: bool
    comment: int = 0
    frozen: bool = False

    @property
    def output(self) -> str:
        """Path of the output."""
        return f"shop/{self.name}" if self.kind == "shared" else self.name

    @property
    def file(self) -> str:
        """Path of the file that the command writes, the output or in it."""
        return f"{self.output}/inner/file" if self.kind == "folder" else self.output

    def entry(self) -> dict[str, object]:
        """The stage as dvc.yaml has it."""
        read = "echo same" if self.blunt else f"echo {' '.join(self.reads)}; cat {' '.join(map(_files, self.reads))}"
        folder = str(Path(self.file).parent)
        command = f"mkdir -p {folder}; (echo {self.name} {self.comment}; {read}) > {self.file}"
        out: object = {
            "uncached": {self.output: {"cache": False}},
            "metric": {self.output: {"cache": False}},
            "persist": {self.output: {"persist": True}},
        }.get(self.kind, self.output)
        found: dict[str, object] = {"cmd": command, "deps": self.reads, "params": self.params}
        found["metrics" if self.kind == "metric" else "outs"] = [out]
        return found | {name: True for name, set_ in (("always_changed", self.always), ("frozen", self.frozen)) if set_}


def _files(path: str) -> str:
    """Shell words for the files at `path`."""
    return f"$(find {path} -type f | sort)"


@dataclass
class Graph:
    """A random graph with the contents that it reads."""

    nodes: list[Node]
    inputs: dict[str, int] = field(default_factory=lambda: {"in0": 0, "in1": 0})
    params: dict[str, int] = field(default_factory=lambda: {"p0": 0, "p1": 0})

    def write(self, folder: Path) -> None:
        """Bring the files up to date; those that stay are not touched."""
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
    """Up to six stages of all kinds of outputs; a stage may read a file in another's folder, or a shared folder."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 6))):
        paths = [path for node in nodes for path in {node.output, node.file}]
        shop = ["shop"] if any(node.kind == "shared" for node in nodes) else []
        reads = draw(st.lists(st.sampled_from(["in0", "in1", *paths, *shop]), min_size=1, max_size=3, unique=True))
        shopped = any("shop" in some for some in [reads, *(node.reads for node in nodes)])
        kinds = [kind for kind in KINDS if kind != "shared" or not shopped]  # the folder's readers may be upstream
        kind = draw(st.sampled_from(kinds))
        params = draw(st.lists(st.sampled_from(["p0", "p1"]), unique=True, max_size=2))
        often = st.sampled_from([True, False, False, False])
        nodes.append(Node(f"s{number}", kind, reads, params, draw(often), draw(st.integers(0, 9)) == 9))
    return Graph(nodes)


Edit = Callable[[Graph, list[Path]], None]


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """One thing that a person may do between two runs."""
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
    """Spare what a frozen stage needs: lost, it could not be made again."""
    path = folder / node.file
    if kind == "delete" and not frozen and path.exists():
        path.unlink()
    elif kind == "edit" and path.exists() and not frozen:
        path.unlink()
        path.write_text("by hand\n")
    elif kind == "lose cache" and not frozen:
        forget_cache(folder)
    elif kind == "lose runs":
        shutil.rmtree(folder / ".dvc" / "cache" / "runs", ignore_errors=True)
    elif kind == "lose lock" and not frozen:
        (folder / "dvc.lock").unlink(missing_ok=True)
    elif kind == "lose one" and not frozen:
        contents = sorted(path for path in (folder / ".dvc/cache/files").rglob("*") if path.is_file())
        for lost in contents[:1]:
            lost.unlink()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty DVC project, to be copied: making one takes longer."""
    folder = tmp_path_factory.mktemp("empty")
    Toy(folder)
    return folder


@pytest.mark.timeout(60 + 20 * EXAMPLES)
@settings(
    derandomize="INKFLOW_EXAMPLES" not in os.environ,  # the same examples each time, others by asking for more
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller example would take minutes to find
)
@given(graph=graphs(), rounds=st.lists(st.lists(edits(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_plan_is_what_happens(empty: Path, graph: Graph, rounds: list[list[Edit]]) -> None:
    """After any edits: the plan's verdicts come true, the status is clean, and dvc.lock is what `dvc repro` writes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "toy"
        shutil.copytree(empty, folder)
        graph.write(folder)
        with inside(folder):
            copy = twin(folder)
            _bring_up_to_date(graph)
            dvc_repro(copy)
            assert locks(folder) == locks(copy)
            for edits_ in rounds:
                for edit in edits_:
                    edit(graph, [folder, copy])
                for place in (folder, copy):
                    graph.write(place)
                _bring_up_to_date(graph)
                dvc_repro(copy)
                assert locks(folder) == locks(copy)


def _bring_up_to_date(graph: Graph) -> None:
    run_as_planned()
    assert status() == {}
    again = outcomes(run_as_planned())  # a stage that always runs gives the same: what is behind it stays
    assert again == {
        node.name: Outcome.RAN if node.always and not node.frozen else Outcome.UNCHANGED for node in graph.nodes
    }
