"""What a worker is sent: the newest commit that it can fetch, everything since as a patch, and no file unseen."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from flows.core.errors import CannotBeSent, Interrupted, OrderUnusable, StageFailed, StageTimedOut
from flows.engine.policy import Policies, StagePolicy
from flows.engine.scheduler import Scheduler
from flows.engine.types import Stage
from flows.workers.code_checkout import check_out
from flows.workers.executor import Executor
from flows.workers.order import MAX_PATCH_BYTES, Order, other_versions, source_of, versions_of
from flows.workers.stage_report import Ending, Report, ending_of
from stages.base.errors import InkflowError

PERSON = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")


def git(folder: Path, *arguments: str) -> str:
    """Output of a git command."""
    return subprocess.run(["git", *PERSON, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a repository with one commit and the project in a folder below its top."""
    origin = tmp_path / "origin"
    (origin / "sub").mkdir(parents=True)
    git(origin, "init", "--quiet")
    (origin / "sub/a").write_text("one\n")
    (origin / "sub/dvc.lock").write_text("lock\n")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "one")
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone/sub"


def order(folder: Path, *files: str) -> Order:
    """An order for a stage that reads `files`."""
    return Order(stage="s", run_key="k", **source_of(folder, files, "s"))


def test_what_was_committed_and_edited_since_goes_along(clone: Path, tmp_path: Path) -> None:
    """An unpushed commit, edits, new and binary files reach the worker; dvc.lock does not; twice is the same."""
    base = git(clone, "rev-parse", "HEAD").strip()
    (clone / "a").write_text("two\n")
    (clone / "b").write_bytes(bytes(range(256)))
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "two")
    (clone / "a").write_text("three\n")
    (clone / "dvc.lock").write_text("other\n")
    sent = order(clone, "a", "b")
    assert (sent.commit, sent.folder) == (base, "sub/")
    for _ in range(2):
        (tmp_path / "place").mkdir(exist_ok=True)
        root = check_out(sent, tmp_path / "home", tmp_path / "place")
        assert (root / "a").read_text() == "three\n"
        assert (root / "b").read_bytes() == bytes(range(256))
        assert (root / "dvc.lock").read_text() == "lock\n"
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/pushed")
    assert order(clone, "a").commit == git(clone, "rev-parse", "HEAD").strip()


def test_a_file_that_git_ignores_is_sent_more_than_once(clone: Path, tmp_path: Path) -> None:
    """A file that was added although git ignores it reaches the worker with each order, as it is then, and is gone
    there when it is gone here; what a stage made that git ignores stays.
    """
    (tmp_path / "place").mkdir()
    (clone / ".gitignore").write_text("*.ignored\n")
    git(clone, "add", ".gitignore")
    git(clone, "commit", "--quiet", "--message", "ignore")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/ignoring")
    (clone / "new.ignored").touch()
    git(clone, "add", "--force", "new.ignored")
    for text in ("one\n", "one\n", "two\n"):
        (clone / "new.ignored").write_text(text)
        root = check_out(order(clone, "new.ignored"), tmp_path / "home", tmp_path / "place")
        assert (root / "new.ignored").read_text() == text
        (root / "made.ignored").touch()
    git(clone, "rm", "--quiet", "--force", "new.ignored")
    root = check_out(order(clone), tmp_path / "home", tmp_path / "place")
    assert [path.name for path in root.glob("*.ignored")] == ["made.ignored"]


def test_a_branch_may_take_the_place_of_another(clone: Path, tmp_path: Path) -> None:
    """`feature` is deleted and `feature/x` pushed, and the other way round: the worker goes on."""
    (tmp_path / "place").mkdir()
    for before, branch in ((None, "feature"), ("feature", "feature/x"), ("feature/x", "feature")):
        if before:
            git(clone, "push", "--quiet", "origin", f":refs/heads/{before}")
        (clone / "a").write_text(f"{branch} after {before}\n")
        git(clone, "commit", "--quiet", "--all", "--message", branch)
        git(clone, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        sent = order(clone, "a")
        assert sent.commit == git(clone, "rev-parse", "HEAD").strip()
        root = check_out(sent, tmp_path / "home", tmp_path / "place")
        assert (root / "a").read_text() == f"{branch} after {before}\n"


@pytest.mark.parametrize(
    "setting",
    [
        {"diff.noprefix": "true"},
        {"diff.mnemonicPrefix": "true"},
        {"diff.relative": "true"},
        {"diff.context": "0"},
        {"diff.external": "true"},
        {"diff.upper.textconv": "tr a-z A-Z <"},
        {"color.ui": "always"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_of_git_change_no_patch(clone: Path, tmp_path: Path, setting: dict[str, str]) -> None:
    """However somebody wants to see differences, the worker gets the same files."""
    (clone.parent / ".gitattributes").write_text("* diff=upper\n")
    (clone.parent / "above").write_text("new\n")
    git(clone, "add", "--all", ":/")
    (clone / "a").write_text("two\n")
    plain = order(clone, "a")
    for name, value in setting.items():
        git(clone, "config", name, value)
    sent = order(clone, "a")
    assert sent == plain
    (tmp_path / "place").mkdir()
    root = check_out(sent, tmp_path / "home", tmp_path / "place")
    assert ((root / "a").read_text(), (root.parent / "above").read_text()) == ("two\n", "new\n")


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("https://me:secret@host/p.git", "https://host/p.git"),
        ("https://token@host/p.git", "https://host/p.git"),
        ("ssh://git@host/p.git", "ssh://git@host/p.git"),
        ("ssh://git:secret@host:22/p.git", "ssh://git@host:22/p.git"),
        ("ssh://host/p.git", "ssh://host/p.git"),
        ("git@host:p.git", "git@host:p.git"),
    ],
)
def test_no_secret_is_sent(clone: Path, origin: str, source: str) -> None:
    """A password or token in the address of origin is not part of the order."""
    git(clone, "remote", "set-url", "origin", origin)
    assert order(clone).source == source


def test_what_no_worker_can_see_is_refused(clone: Path, tmp_path: Path) -> None:
    """A file that git does not know is named, a patch that is too large is said; no commit is said."""
    (clone / "new").write_text("new\n")
    with pytest.raises(CannotBeSent, match=r"it reads new, which git does not know.*`git add` it"):
        order(clone, "a", "new")
    (clone / "a").write_bytes(os.urandom(MAX_PATCH_BYTES))
    with pytest.raises(CannotBeSent, match="of which a worker takes at most 300,000; commit and push it"):
        order(clone, "a")
    git(tmp_path, "init", "--quiet", "empty")
    with pytest.raises(CannotBeSent, match="commit first"):
        order(tmp_path / "empty")


@pytest.mark.parametrize(
    "error",
    [StageFailed("s", 69, ["error: away"]), StageTimedOut("s", 3.0), Interrupted("s"), InkflowError("s: broken")],
)
def test_an_error_crosses_whole(error: InkflowError) -> None:
    """An error of a worker is the same error here: class, exit code and words."""
    ending, code, words = ending_of(error)
    report = Report.from_table(Report("w", "s", ending=ending, code=code, words=words).to_table())
    assert report is not None
    again = report.error(3.0)
    assert type(again) is type(error)
    assert again.exit_code == error.exit_code
    if ending is not Ending.BROKEN:
        assert str(again) == str(error)


def test_versions_are_compared_by_name(clone: Path) -> None:
    """Other versions are told with both, the same ones are not; the third number of Python's does not count."""
    here = order(clone).model_copy(update={"versions": versions_of(["python", "numpy", "no-such-package"])})
    assert other_versions(here) == ""
    other = here.model_copy(update={"versions": {**here.versions, "numpy": "0.1"}})
    assert other_versions(other).endswith("instead of 0.1")
    major, minor, _ = platform.python_version_tuple()
    for python, said in ((f"{major}.{minor}", ""), ("3.2", f"python {major}.{minor} instead of 3.2")):
        assert other_versions(here.model_copy(update={"versions": {"python": python}})) == said


@pytest.mark.parametrize("slots", ["abc", "0", "1.5"])
def test_slots_have_to_be_a_number(slots: str, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose slots are no number refuses what it is sent, and says what they should be."""
    monkeypatch.setenv("INKFLOW_WORKER_SLOTS", slots)
    with pytest.raises(OrderUnusable, match=f"INKFLOW_WORKER_SLOTS is '{slots}', and has to be a whole number from 1"):
        Executor(order(clone), print).run()


def test_stages_in_pools_take_no_jobs() -> None:
    """With one job, all stages of a pool start at once, beside one that runs here."""
    stages = [Stage(name) for name in ("a", "p@1", "p@2", "b")]
    policies = Policies(stages={"p@*": StagePolicy(pool="gpu", slots=4, gpus=2)})
    scheduler = Scheduler(stages, {stage.name: policies.of(stage.name) for stage in stages}, jobs=1, gpus=[0])
    while scheduler.start_next():
        pass
    assert set(scheduler.running) == {"a", "p@1", "p@2"}
    assert policies.all_here().of("p@1").pool is None
