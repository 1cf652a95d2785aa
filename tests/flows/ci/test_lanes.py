"""The lanes of CI on small projects and on this one."""

import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from contextlib import chdir
from pathlib import Path

import pytest

from flows.ci.summary import Status, Step, junit, markdown
from flows.cli.main import main as inkflow_here
from flows.dvc_repo import remotes
from tests.conftest import SMALL_MODELS, Inkflow, Project, Toy, run_engine
from tests.flows.dvc_repo.test_remotes import PIPELINE, commit, second
from tests.support.commands import dvc, run_python
from tests.support.copied_toy import copied_toy
from tests.support.root import ROOT

VARIABLES = ("GITHUB_ACTIONS", "GITLAB_CI", "GITHUB_STEP_SUMMARY", "INKFLOW_SSH_KEY", "GITHUB_TOKEN", "GH_TOKEN")


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the variables of a CI job in which these tests may run."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def make_finished(folder: Path) -> None:
    """Makes a committed project in `toy`, with a DVC remote in `store` that has all outputs."""
    toy = Toy(folder / "toy")
    ignored = "/*.runs\n/.inkflow\n/out\n/joined\n"
    toy.write({"dvc.yaml": PIPELINE.replace("cmd: >-\n      echo", "params: [speed]\n    cmd: >-\n      echo")})
    toy.write({"in": "one\n", "params.yaml": "speed: 1\n", ".gitignore": ignored})
    with chdir(toy.folder):
        assert run_engine().error is None
        dvc("remote", "add", "-q", "-d", "store", "../store")
        remotes.push(Path())
        commit(toy.folder)


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder, and of its remote."""
    return copied_toy(make_finished, tmp_path, monkeypatch, "toy")


def lane(*arguments: str) -> int:
    """Runs `inkflow ci ...` in this process and returns the exit code."""
    return inkflow_here(["ci", *arguments])


def steps(name: str) -> dict[str, str]:
    """Returns the status of each step of a lane, from its JUnit file."""
    statuses = {"failure": "failed", "skipped": "skipped"}
    cases = ElementTree.parse(f".inkflow/ci/{name}.xml").getroot()
    return {case.attrib["name"]: statuses[case[0].tag] if len(case) else "passed" for case in cases}


def test_check_passes_in_a_clone_without_data(finished: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a fresh clone without data, a lock that matches the code passes, and the recorded plan is empty."""
    folder = second(finished)
    monkeypatch.chdir(folder)
    assert lane("check") == 0
    assert steps("check") == {"schema": "skipped", "secrets": "passed", "lock": "passed", "remote": "passed"}
    assert inkflow_here(["plan", "--recorded", "--exit-code"]) == 0
    assert inkflow_here(["plan", "--exit-code"]) == 3  # the clone has no outputs
    assert not list(folder.glob("*.runs")) and not (folder / "out").exists()


def test_paths_are_those_of_the_caller_s_folder(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder below the project, --out, the files of `comment`, and stages after -- are looked up there."""
    folder = toy.folder / "below"
    folder.mkdir()
    (folder / "dvc.yaml").write_text("stages: {inner: {cmd: echo > made, outs: [made]}}")
    monkeypatch.chdir(folder)
    lane("check", "--out", "results")
    assert sorted(path.name for path in (folder / "results").iterdir()) == ["check.md", "check.xml"]
    monkeypatch.chdir(folder)
    lane("run", "--out", "results", "--", "--no-server", "inner")
    assert (folder / "made").exists() and (folder / "results/run.md").exists()
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert inkflow_here(["ci", "comment", "results/check.md"]) == 0
    assert "no comment" in capsys.readouterr().out


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("edit", "messages"),
    [
        ({"params.yaml": "speed: 2\n"}, ["join: speed 1 → 2"]),
        ({"in": "two\n"}, ["source: in changed", "join: depends on the outputs of source"]),
        ({"dvc.yaml": PIPELINE.replace("echo two", "echo three")}, ["source: the command changed"]),
        ({"score.json": '{"lines": 3}\n'}, ["join: score.json changed"]),
    ],
)
def test_stale_lock(
    finished: Toy,
    edit: dict[str, str],
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An edit without a run makes the check fail; the messages name the stages and the reasons."""
    finished.write(edit)
    commit(finished.folder)
    monkeypatch.chdir(second(finished))
    assert lane("check") == 1
    out = capsys.readouterr().out
    assert all(f"failed  lock     {message}" in out for message in messages), out
    assert steps("check")["lock"] == "failed"
    assert inkflow_here(["plan", "--recorded", "--exit-code"]) == 3


def test_inconsistent_lock(finished: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A lock is stale if a stage's input differs from the output that the lock records for it, as after a bad merge."""
    written = re.search(r"joined\n\s+hash: md5\n\s+md5: (\w+)", finished.read("dvc.lock"))
    assert written
    folder_hash = re.findall(r"md5: (\w+\.dir)", finished.read("dvc.lock"))[0]
    finished.write({"dvc.lock": finished.read("dvc.lock").replace(folder_hash, f"{'0' * 32}.dir", 1)})
    assert lane("check") == 1
    assert "failed  lock     join: out changed" in capsys.readouterr().out


def test_missing_output_in_the_remote(finished: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An output that is missing in the remote is named with its stage, also if the local cache has it."""
    for path in (tmp_path / "store/files").rglob("*"):
        if path.is_file() and path.read_bytes() == b"one\ntwo\n":
            path.unlink()
    assert lane("check") == 1
    assert "failed  remote   join: joined not in the DVC remote store" in capsys.readouterr().out
    assert steps("check")["lock"] == "passed"
    assert lane("check", "--no-remote") == 0
    assert steps("check")["remote"] == "skipped"


def test_a_wrong_argument_of_the_run(finished: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    """The step `run` repeats why `inkflow run` refused its arguments, which argparse says after the program's name."""
    assert lane("run", "--", "--jobz", "2") == 1
    text = "inkflow run: error: unrecognized arguments: --jobz; did you mean '--jobs'?"
    assert f"failed  run      {text}" in capfd.readouterr().out
    assert text in Path(".inkflow/ci/run.md").read_text()


@pytest.mark.parametrize(("names", "message"), [(["dvc.lock"], "differs"), (["dvc.lock", "params.yaml"], "differ")])
def test_the_record_names_what_differs(
    finished: Toy, names: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step `record` names each file that the run changed; the verb agrees with their number."""
    for name in names:
        finished.write({name: finished.read(name) + "# more\n"})
    lane("run", "--", "--no-server")
    assert f"record   {' and '.join(names)} {message} from the commit" in capsys.readouterr().out


def test_check_without_a_remote(finished: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a DVC remote, the step is skipped with a message; it does not fail."""
    dvc("remote", "remove", "-q", "store")
    assert lane("check") == 0
    assert "skipped remote   no DVC remote is configured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "lines"),
    [
        ("password", "url = ssh://host/x\n    password = hunter22"),
        ("secret_access_key", "url = s3://x\n    secret_access_key = hunter22"),
        ("access_key_id", "url = s3://x\n    access_key_id = hunter22"),
        ("url", "url = ssh://me:hunter22@host/x"),
    ],
)
def test_tracked_secret(finished: Toy, option: str, lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A credential in a tracked DVC configuration fails the check, which does not print it; a local one is allowed."""
    remote = f"['remote \"far\"']\n    {lines}\n"
    finished.write({".dvc/config.local": remote})
    assert lane("check", "--no-remote") == 0
    finished.write({".dvc/config": finished.read(".dvc/config") + remote, ".dvc/config.local": ""})
    subprocess.run(["git", "add", ".dvc/config"], check=True)
    capsys.readouterr()
    assert lane("check", "--no-remote") == 1
    shown = capsys.readouterr().out
    assert f".dvc/config is tracked by git and holds a credential ({option})" in shown
    assert "hunter22" not in shown + Path(".inkflow/ci/check.md").read_text()


def test_a_check_that_cannot_look_fails(finished: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Where git cannot list the tracked files, the search for secrets fails with git's own words."""
    (finished.folder / ".git/index").write_bytes(b"broken" * 20)
    assert lane("check", "--no-remote") == 1
    assert re.search(r"failed  secrets  git ls-files: (error|fatal): ", capsys.readouterr().out)
    assert steps("check")["secrets"] == "failed"


@pytest.mark.parametrize("fixed", [True, False])
def test_stages_with_fixed_outputs_are_expected_to_stay(
    finished: Toy, fixed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a changed input, stages behind a stage with fixed outputs still match the lock."""
    finished.write({"in": "other\n"})
    finished.write({"execution.yaml": f"stages: {{source: {{fixed_outputs: {str(fixed).lower()}}}}}\n"})
    assert lane("check", "--no-remote") == 1
    shown = capsys.readouterr().out
    assert "source: in changed" in shown
    assert ("join: " in shown) is not fixed


def test_summary_on_the_page_of_the_job(finished: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a GitHub job, the summary is appended to the job's page."""
    page = tmp_path / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    assert lane("check") == 0
    assert page.read_text() == "before\n" + Path(".inkflow/ci/check.md").read_text()


def test_messages_are_escaped() -> None:
    """A message makes no columns, tags or lines of its own in the Markdown table; the JUnit file stays valid XML."""
    step = Step("run", Status.FAILED, ("a | b <img src=x>\nc & d", "second"))
    text = markdown("run", [step])
    assert "| run | failed | a \\| b &lt;img src=x&gt; c &amp; d<br>second |" in text
    assert text.startswith("### inkflow ci run: failed at run\n")
    [case] = ElementTree.fromstring(junit("run", [step]).encode())
    assert case[0].attrib["message"] == "a | b <img src=x>\nc & d\nsecond"


@pytest.mark.server
@pytest.mark.farm
@pytest.mark.timeout(900)  # a training and three runs, on a busy machine
def test_run_lane(project: Project, inkflow: Inkflow, tmp_path: Path) -> None:
    """The lane runs this pipeline and pushes, and the next clone restores all of it. A failed gate makes the lane fail,
    and the summary still includes the report.
    """
    project.set({"models": {"dense": SMALL_MODELS["dense"]}})
    project.set({"gates": {"every": {"lower_bound": 0.1}, "models": {}}, "datasets.digits.stand_in_for": None})
    dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    first = inkflow("ci", "run", "--push", "--", "--jobs", "2", folder=project.folder)
    assert first.returncode == 0, first.stdout + first.stderr
    assert steps("run") == {"run": "passed", "gates": "passed", "record": "passed"}
    commit(project.folder)
    assert lane("check") == 0
    assert set(steps("check").values()) == {"passed"}
    summary = project.read(".inkflow/ci/run.md")
    assert summary.startswith("### inkflow ci run: passed") and project.read("reports/summary.md").strip() in summary

    folder = second(project)
    os.chdir(folder)
    project.folder = folder
    project.write({".dvc/config.local": f"[cache]\n    dir = {tmp_path / 'empty'}\n"})
    again = inkflow("ci", "run", folder=folder)
    assert again.returncode == 0 and "0 of 6 stages ran, 6 restored" in again.stdout, again.stdout
    project.set({"gates": {"every": {"lower_bound": 1.0}, "models": {}}})
    failed = inkflow("ci", "run", "--push", folder=folder)
    assert failed.returncode == 1
    assert steps("run") == {"run": "failed", "gates": "failed", "record": "passed"}
    summary = project.read(".inkflow/ci/run.md")
    assert summary.startswith("### inkflow ci run: failed at run, gates")
    assert "dense, lower_bound" in summary and project.read("reports/summary.md").strip() in summary
    assert re.search(r"params\.yaml differs? from the commit", summary)
    gates = ElementTree.parse(".inkflow/ci/gates.xml").getroot()
    assert gates.attrib["failures"] == "1"


@pytest.mark.farm
def test_run_lane_of_a_stage_that_fails(finished: Toy, capsys: pytest.CaptureFixture[str], prefect_url: str) -> None:
    """A failed stage makes the lane fail with the stage's message; the gates are not checked on earlier outputs."""
    finished.write(
        {
            "dvc.yaml": finished.read("dvc.yaml").replace(
                "echo two", "printf 'error\\072 no disk\\n' >&2; exit 1; echo two"
            )
        }
    )
    environment = {"PREFECT_API_URL": prefect_url, "PYTHONPATH": str(ROOT)}
    run = run_python("-m", "flows", "ci", "run", environment=os.environ | environment)
    assert run.returncode == 1, run.stdout
    assert "failed  run      error: source failed (exit code 1): no disk" in run.stdout
    assert steps("run") == {"run": "failed", "gates": "skipped", "record": "passed"}
