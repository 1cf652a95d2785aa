"""Random graphs with random edits between runs: each run does what the plan says.

The environment variable INKFLOW_EXAMPLES sets the number of graphs, which then are other ones each time. Among the
shapes are projects below the git root, inputs in a git submodule and in a folder that DVC tracks, parameters that a
stage writes, outputs that are shared folders, not cached or persist, long names, and processes in the background.
"""

import os
import shutil
import subprocess
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
from tests.support.dvc_calls import track

EXAMPLES = int(os.environ.get("INKFLOW_EXAMPLES", "1"))
FARM_EXAMPLES = 200
KINDS = ("file", "file", "folder", "uncached", "metric", "shared", "persist", "params")
LONG = "层" * 60  # 180 bytes, 540 when quoted


@dataclass
class Node:
    """One stage of a random graph: makes one output from inputs, outputs of other stages and parameters."""

    name: str
    kind: str
    reads: list[str]
    params: list[str]
    constant: bool  # its output does not depend on its inputs, so that stages downstream stay unchanged
    always: bool
    made: list[str] = field(default_factory=list)  # files of parameters that other stages write
    is_long: bool = False  # the name of the stage
    is_background: bool = False  # a process in the background writes the output, and another one is left running
    comment: int = 0
    frozen: bool = False

    @property
    def stage(self) -> str:
        """The name of the stage."""
        return f"{self.name}-{LONG}" if self.is_long else self.name

    @property
    def output(self) -> str:
        """The path of the output."""
        return {"shared": f"shop/{self.name}", "params": f"{self.name}.yaml"}.get(self.kind, self.name)

    @property
    def file(self) -> str:
        """The path of the file that the command writes: the output, or a file in it."""
        return f"{self.output}/inner/file" if self.kind == "folder" else self.output

    def entry(self) -> dict[str, object]:
        """Returns the entry of the stage in dvc.yaml."""
        read = "echo same" if self.constant else f"echo {' '.join(self.reads)}; cat {' '.join(map(_files, self.reads))}"
        if self.made and not self.constant:
            read += f"; grep -h v: {' '.join(self.made)}"
        write = f"(echo {self.name} {self.comment}; {read})"
        if self.kind == "params":  # inputs with the same first digit give the same parameter in another file
            write = f"{write} | sed 's/^/# /'; echo v: $( {write} | cksum | cut -c1)"
            write = f"({write})"
        command = f"mkdir -p {Path(self.file).parent}; {write} > {self.file}"
        if self.is_background:
            command = f"sleep 0.1 & ({command}) & wait $!"
        out: object = {
            "uncached": {self.output: {"cache": False}},
            "metric": {self.output: {"cache": False}},
            "persist": {self.output: {"persist": True}},
        }.get(self.kind, self.output)
        entry: dict[str, object] = {"cmd": command, "deps": self.reads}
        entry["params"] = [*self.params, *({path: ["v"]} for path in self.made)]
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
    is_below: bool = False  # the project is not the root of the git repository
    is_tracked: bool = False  # DVC tracks the input folder `data`

    @property
    def names(self) -> list[str]:
        """The names of the stages that a run must have."""
        return [*(node.stage for node in self.nodes), *(["data.dvc"] if self.is_tracked else [])]

    def write(self, folder: Path) -> None:
        """Writes the files that have changed."""
        stages = {node.stage: {key: value for key, value in node.entry().items() if value} for node in self.nodes}
        _dump({"stages": stages}, folder / "dvc.yaml")
        _dump(self.params, folder / "params.yaml")
        for name, version in self.inputs.items():
            _write(folder / name, f"{name} {version}\n")


def _dump(content: object, path: Path) -> None:
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draws up to six stages with all kinds of outputs, of which some read a file in a folder, or a shared folder."""
    nodes: list[Node] = []
    rarely = st.sampled_from([False, False, True])
    inputs = {"in0": 0, "in1": 0} | ({"data/a": 0, "data/sub/b": 0} if draw(rarely) else {})
    is_below = draw(rarely)
    sources = [*inputs, *(["data"] if "data/a" in inputs else []), *([] if is_below else ["module/in", "module"])]
    for number in range(draw(st.integers(1, 6))):
        paths = [path for node in nodes for path in {node.output, node.file}]
        shop = ["shop"] if any(node.kind == "shared" for node in nodes) else []
        reads = draw(
            st.lists(st.sampled_from(["in0", "in1", *sources, *paths, *shop]), min_size=1, max_size=3, unique=True)
        )
        is_shop_read = any("shop" in paths for paths in [reads, *(node.reads for node in nodes)])
        kinds = [
            kind for kind in KINDS if kind != "shared" or not is_shop_read
        ]  # a reader of the folder may be upstream
        kind = draw(st.sampled_from(kinds))
        params = draw(st.lists(st.sampled_from(["p0", "p1"]), unique=True, max_size=2))
        often = st.sampled_from([True, False, False, False])
        made = [node.output for node in nodes if node.kind == "params" and draw(st.booleans())]
        is_always = draw(st.integers(0, 9)) == 9
        node = Node(f"s{number}", kind, reads, params, draw(often), is_always, made, draw(rarely), draw(rarely))
        nodes.append(node)
    inputs |= {} if is_below else {"module/in": 0}
    return Graph(nodes, inputs, is_below=is_below, is_tracked="data/a" in inputs)


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
            graph.inputs[list(graph.inputs)[which % len(graph.inputs)]] = number
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
        path.write_text("v: by hand\n")
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
    """A DVC project with nothing but a git submodule to copy, which is faster than to create one."""
    module, folder = tmp_path_factory.mktemp("module"), tmp_path_factory.mktemp("empty")
    (module / "in").write_text("module\n")
    _git(module, "init", "--quiet")
    _git(module, "add", "in")
    _git(module, "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "-m", "module")
    Toy(folder)
    _git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(module), "module")
    return folder


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


OPTIONS = settings(
    derandomize="INKFLOW_EXAMPLES" not in os.environ,  # the same examples each time, unless the variable is set
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes
)
ROUNDS = st.lists(st.lists(edits(), min_size=1, max_size=3), min_size=1, max_size=3)


@pytest.mark.timeout(900 + 60 * EXAMPLES)
@settings(OPTIONS, max_examples=EXAMPLES)
@given(graph=graphs(), rounds=ROUNDS)
def test_runs_follow_the_plan(empty: Path, graph: Graph, rounds: list[list[Edit]]) -> None:
    """After any edits the run follows the plan, the status is clean, and dvc.lock is equal to that of `dvc repro`."""
    _check(empty, graph, rounds)


@pytest.mark.farm
@pytest.mark.timeout(900 + 60 * FARM_EXAMPLES)
@settings(OPTIONS, max_examples=FARM_EXAMPLES)
@given(graph=graphs(), rounds=ROUNDS)
def test_many_runs_follow_the_plan(empty: Path, graph: Graph, rounds: list[list[Edit]]) -> None:
    """The same holds for many graphs."""
    _check(empty, graph, rounds)


def _check(empty: Path, graph: Graph, rounds: list[list[Edit]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "toy"
        shutil.copytree(empty, folder)
        if graph.is_below:
            shutil.rmtree(folder / "module")
            (folder / ".git").rename(folder.parent / ".git")
        graph.write(folder)
        with chdir(folder):
            if graph.is_tracked:
                track("data")
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
    always = {node.stage for node in graph.nodes if node.always and not node.frozen}
    assert second == {name: Outcome.RAN if name in always else Outcome.UNCHANGED for name in graph.names}
