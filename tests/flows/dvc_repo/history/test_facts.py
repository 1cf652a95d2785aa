"""The facts about all versions of a project: commits, branches, tags, experiments, and what is broken among them."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.support.many_versions import ManyVersions, Point, first_point
from flows.cli.main import main as inkflow
from flows.core.errors import RevisionUnusable
from flows.dvc_repo.history.facts import read_facts, resolve
from flows.dvc_repo.history.parsing import leaves, parse_lock, parse_values
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.support.root import ROOT

FIRST = first_point()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a merge, a tag, broken files, two data sets, a failed gate and two sweeps; read-only."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def facts(project: Path) -> dict[str, Any]:
    """The facts of this project."""
    return read_facts(project)


def make_project(folder: Path, experiments: int = 5) -> Path:
    """Makes the project of most tests."""
    project = ManyVersions(folder, samples=200)
    one = project.commit(FIRST, "first")
    two = project.commit(FIRST.with_model("cnn", epochs=9), "cnn: longer", parents=(one,))
    project.tag("cnn@v0.0.1", two)
    broken = Point(FIRST.models, extra={"dvc.lock": b"stages: [\n", "params.yaml": b"<<<<<<< ours\na: 1\n"})
    three = project.commit(broken, "broken", parents=(two,))
    four = project.commit(Point(FIRST.models, "digits", "2", 0.99), "other data", parents=(three,))
    side = project.commit(FIRST.with_model("dense", units=8), "side", parents=(two,), ref="refs/heads/side")
    five = project.commit(FIRST, "back", parents=(four,))
    project.commit(FIRST, "merge", parents=(five, side))
    grid = {f"rate-{n}": FIRST.with_model("cnn", learning_rate=0.01 * (n + 1)) for n in range(experiments)}
    pairs = {f"pair-{u}-{e}": FIRST.with_model("dense", units=u, epochs=e) for u in (32, 64) for e in (3, 5)}
    project.finish(grid | pairs)
    return folder


def row(facts: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the row of a commit by its message, or of an experiment by its name."""
    return next(item for item in facts["versions"] if name in (item["title"], item["name"]))


def test_a_commit_names_what_changed(facts: dict[str, Any]) -> None:
    """A row has the parameters that differ from the commit before, and marks of new data, code and gates."""
    assert row(facts, "cnn: longer")["changed"] == {"models.cnn.epochs": [5, 9]}
    assert row(facts, "cnn: longer")["marks"] == []
    assert row(facts, "other data")["dataset"] == "digits"
    assert row(facts, "back")["marks"] == ["data", "code", "gates"]
    assert "models.cnn.dropout" in facts["constants"] and "models.cnn.epochs" not in facts["constants"]


def test_scores_come_from_git_and_the_cache(facts: dict[str, Any]) -> None:
    """Test scores are read from git, validation scores, sample counts and gates from DVC's cache by hash."""
    model = row(facts, "first")["models"]["cnn"]
    assert set(model["test"]) == {"accuracy", "loss", "errors", "samples"} and model["test"]["samples"] == 200
    assert set(model["validation"]) == {"loss", "accuracy", "samples"}
    assert Path(facts["files"][model["predictions"]]).is_file()
    assert Path(facts["files"][row(facts, "first")["description"]]).read_text() == "description mnist"
    gates = row(facts, "other data")["gates"]
    assert gates["failed"] >= 1 and gates["checks"][0]["gate"] == "lower_bound"


def test_a_broken_version_says_so(facts: dict[str, Any]) -> None:
    """A dvc.lock that is no YAML and a params.yaml with a conflict are named in their row; all others are read."""
    problems = row(facts, "broken")["problems"]
    assert any(text.startswith("dvc.lock: ") for text in problems)
    assert "params.yaml: it has a merge conflict" in problems
    assert [item["title"] for item in facts["versions"] if item["problems"]] == ["broken"]


def test_a_merge_without_own_results_has_no_row(facts: dict[str, Any]) -> None:
    """A commit with the results of its parent lends its names to the parent's row."""
    assert "merge" not in {item["title"] for item in facts["versions"]}
    back = row(facts, "back")
    assert back["head"] and {"kind": "branch", "name": "main"} in back["refs"] and len(back["same"]) == 1
    assert row(facts, "cnn: longer")["refs"] == [{"kind": "tag", "name": "cnn@v0.0.1"}]


def test_experiments_are_grouped_by_what_they_vary(facts: dict[str, Any]) -> None:
    """Experiments on one commit that vary the same parameters are a sweep, those with a value of the commit too."""
    sweeps = {tuple(sorted(sweep["keys"])): len(sweep["members"]) for sweep in facts["sweeps"]}
    assert sweeps == {("models.cnn.learning_rate",): 5, ("models.dense.epochs", "models.dense.units"): 4}


def test_stages_have_their_graph(facts: dict[str, Any]) -> None:
    """Each stage of a row has the stages that it depends on, also through folders."""
    stages = {stage["name"]: stage["upstream"] for stage in row(facts, "first")["stages"]}
    assert stages["train@cnn"] == ["download"] and stages["evaluate@cnn"] == ["train@cnn", "download"]
    assert set(stages["report"]) > {"train@cnn", "evaluate@dense"}


def test_shallow_clone_and_limit(project: Path, tmp_path: Path) -> None:
    """A shallow clone has the rows that it has commits for; a limit says that there are more."""
    clone = ["git", "clone", "-q", "--depth", "2", f"file://{project}", str(tmp_path / "shallow")]
    subprocess.run(clone, check=True, capture_output=True)
    shallow = read_facts(tmp_path / "shallow")
    assert shallow["project"]["shallow"] and {"back", "side"} <= {item["title"] for item in shallow["versions"]}
    assert read_facts(project, limit=2)["project"]["limited"] == 2


@pytest.mark.farm
def test_git_processes_do_not_grow_with_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many git processes read 2 experiments as 12."""
    counts = []
    for number in (2, 12):
        make_project(tmp_path / str(number), number)
        log = tmp_path / f"{number}.log"
        monkeypatch.setenv("GIT_TRACE2_EVENT", str(log))
        read_facts(tmp_path / str(number))
        monkeypatch.delenv("GIT_TRACE2_EVENT")
        counts.append(sum('"event":"start"' in line for line in log.read_text().splitlines()))
    assert counts[0] == counts[1] < 20


OTHER = {
    "dvc.yaml": """
stages:
  fit:
    wdir: work
    cmd: "true"
    params: [../config.json: [depth]]
    deps: [../data.csv]
    outs: [tree.bin]
    metrics: [scores.json: {cache: false}]
metrics: [top.toml]
""",
    "dvc.lock": """schema: '2.0'
stages:
  fit:
    cmd: "true"
    deps: [{path: ../data.csv, md5: '1'}]
    outs: [{path: tree.bin, md5: '2'}, {path: scores.json, md5: 9bcf81707bdd0a3d2383496d6c462a4d}]
""",
    "config.json": '{"depth": 3}',
    "work/scores.json": '{"auc": 0.5, "by": {"fold": [0.4, 0.6]}, "note": "x"}',
    "top.toml": "rmse = 2.5\n",
    "data.csv": "a\n",
}


@pytest.fixture
def other(toy: Toy) -> Iterator[Toy]:
    """Another DVC project with one commit: other parameters and metrics, a working folder, no params.yaml."""
    toy.write(OTHER)
    commit(toy, "first")
    yield toy


def commit(toy: Toy, message: str) -> None:
    """Commits all files."""
    subprocess.run(["git", "add", "-A"], cwd=toy.folder, check=True)
    author = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *author, "commit", "-qm", message], cwd=toy.folder, check=True)


def test_any_project(other: Toy) -> None:
    """Numbers of all metrics files and parameters of other files are read, with the file's name before the key."""
    found = row(read_facts(other.folder), "first")
    assert found["metrics"] == {"work/scores.json:auc": 0.5, "top.toml:rmse": 2.5}
    assert found["models"] == {} and found["gates"] is None and found["data"] == {"data.csv": "1"}
    facts = read_facts(other.folder)
    assert facts["constants"] == {"config.json:depth": 3}
    assert facts["sweeps"] == []


def test_workspace_is_a_row_if_it_differs(other: Toy) -> None:
    """Results that are not committed are the last row, compared with HEAD."""
    other.write({"config.json": '{"depth": 4}'})
    facts = read_facts(other.folder)
    assert [item["name"] for item in facts["versions"]][-1] == "workspace"
    assert list(facts["versions"][-1]["changed"].values()) == [[3, 4]]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({"cnn": {"validation_loss": 0.1}}, ({"loss": 0.1}, "")),
        ({"best": "cnn", "validation_loss": 0.1}, (None, "cnn")),
    ],
)
def test_scores_in_git_where_the_cache_is_empty(
    tmp_path: Path, summary: dict[str, Any], expected: tuple[dict[str, float] | None, str]
) -> None:
    """A clone without DVC's cache knows the validation scores, or the best model, from the summary in Git."""
    report = json.dumps(summary).encode()
    project = ManyVersions(tmp_path, samples=50)
    project.commit(Point(FIRST.models, extra={"reports/metrics.json": report}), "first")
    project.finish()
    text = (tmp_path / "dvc.lock").read_text()
    digest = hashlib.md5(report, usedforsecurity=False).hexdigest()
    (tmp_path / "dvc.lock").write_text(
        f"{text}    - path: reports/metrics.json\n      hash: md5\n      md5: {digest}\n"
    )
    shutil.rmtree(tmp_path / ".dvc/cache")
    found = read_facts(tmp_path)["versions"][-1]
    assert (found["models"]["cnn"].get("validation"), found["chosen"]) == expected
    assert found["models"]["cnn"]["test"]["samples"] == 50


def test_resolves_names_of_versions(project: Path, facts: dict[str, Any]) -> None:
    """A baseline is named by a tag, a branch, a hash or an experiment's name."""
    own = facts
    assert resolve(project, own, "main") == row(own, "back")["id"]
    assert resolve(project, own, "cnn@v0.0.1") == row(own, "cnn: longer")["id"]
    assert resolve(project, own, "rate-1") == row(own, "rate-1")["id"]


def test_parsing_in_parts_equals_yaml() -> None:
    """dvc.lock and params.yaml of this project, divided and parsed in parts, are what a YAML parser reads."""
    yaml = YAML(typ="safe", pure=True)
    params = (ROOT / "params.yaml").read_bytes()
    assert parse_values("params.yaml", params) == yaml.load(params)
    lock = (ROOT / "dvc.lock").read_bytes()
    whole = yaml.load(lock)["stages"]
    entries = parse_lock(lock)
    assert list(entries) == list(whole)
    for name, entry in entries.items():
        assert entry.deps == {item["path"]: item["md5"] for item in whole[name]["deps"]}
        assert entry.outs == {item["path"]: item["md5"] for item in whole[name]["outs"]}
    assert leaves({"a": {"b": [1, 2]}, "c": [{"d": 1}], "e": {}}) == {"a.b": [1, 2], "c.0.d": 1, "e": {}}


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a: &x {b: 1}\nc: *x\n", "? a\n: b\n", "a:\n  b: |\n    text\n\n    more\n  c: 1\n", "[1]\n", ""],
)
def test_unusual_yaml_is_read_as_a_whole(text: str) -> None:
    """Aliases, keys that are there twice, block texts: the result is the parser's, or its error."""
    from flows.dvc_repo.history.parsing import Unreadable

    try:
        expected = YAML(typ="safe", pure=True).load(text)
    except Exception:  # noqa: BLE001 - whatever the parser refuses
        with pytest.raises(Unreadable):
            parse_values("x.yaml", text.encode())
    else:
        assert parse_values("x.yaml", text.encode()) == expected


def test_command_line(other: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`--runs --json` prints the facts; wrong options and unknown versions are one sentence, and an exit code."""
    assert inkflow(["report", "--runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"][0]["title"] == "first"
    with pytest.raises(RevisionUnusable, match="nowhere: no version of that name"):
        inkflow(["report", "--runs", "--baseline", "nowhere"])
    with pytest.raises(InvalidInput, match="--limit belongs to the page over all runs; add --runs"):
        inkflow(["report", "--limit", "3"])
    with pytest.raises(InvalidInput, match="leave one out"):
        inkflow(["report", "--runs", "--json", "--open"])


def test_project_without_commits(toy: Toy) -> None:
    """A project without a commit has no versions: one sentence says so."""
    with pytest.raises(RevisionUnusable, match="there is no commit yet"):
        inkflow(["report", "--runs"])
