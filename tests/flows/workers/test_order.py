"""Orders and their checkout: the newest commit that a worker can fetch, later changes as a patch, no unknown files."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import pytest

from flows.core.errors import CannotBeSent, GitFailed, Interrupted, OrderUnusable, StageFailed, StageTimedOut
from flows.engine.policy import Policies, StagePolicy
from flows.engine.scheduler import Scheduler
from flows.engine.types import Stage
from flows.workers.code_checkout import check_out
from flows.workers.executor import Executor
from flows.workers.order import MAX_PATCH_BYTES, Order, code_fields, installed_versions, version_differences
from flows.workers.stage_report import ExitStatus, Report, describe_error
from stages.base.errors import InkflowError

GIT_IDENTITY = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")


def git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command."""
    return subprocess.run(
        ["git", *GIT_IDENTITY, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return the project's folder in a clone of a repository with one commit."""
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
    """Return an order for a stage that reads `files`."""
    return Order(stage="s", run_key="k", **code_fields(folder, files, "s"))


def test_files_in_a_submodule_are_refused(clone: Path, tmp_path: Path) -> None:
    """A stage that reads a submodule is not sent: workers do not check out submodules. Other stages are."""
    git(clone, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "origin"), "lib")
    with pytest.raises(CannotBeSent, match="it reads lib/sub/a in a git submodule, which workers lack"):
        order(clone, "a", "lib/sub/a")
    order(clone, "a")


def test_git_that_cannot_answer(clone: Path) -> None:
    """A failure of git is an error with git's own words, not an order without a patch. The index keeps its bytes."""
    index = clone.parent / ".git/index"
    before = index.read_bytes()
    os.utime(clone / "a", (2e9, 2e9))
    assert order(clone, "a").patch == order(clone).patch
    assert index.read_bytes() == before
    index.write_bytes(b"broken" * 20)
    with pytest.raises(GitFailed, match=r"^git ls-files: (error|fatal): "):
        order(clone, "a")


def test_unpushed_commits_and_edits_are_sent(clone: Path, tmp_path: Path) -> None:
    """Unpushed commits, edits, new and binary files reach the worker, dvc.lock does not; a second checkout is equal."""
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
        (tmp_path / "stage").mkdir(exist_ok=True)
        root = check_out(sent, tmp_path / "home", tmp_path / "stage")
        assert (root / "a").read_text() == "three\n"
        assert (root / "b").read_bytes() == bytes(range(256))
        assert (root / "dvc.lock").read_text() == "lock\n"
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/pushed")
    assert order(clone, "a").commit == git(clone, "rev-parse", "HEAD").strip()


def test_a_half_made_repository_is_made_again(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After git failed or was killed while it made a repository of the worker, the next order makes it."""
    stage, home, sent = tmp_path / "stage", tmp_path / "home", order(clone, "a")
    stage.mkdir()
    with monkeypatch.context() as context:
        for name, value in (("COUNT", "1"), ("KEY_0", "init.defaultBranch"), ("VALUE_0", "..")):
            context.setenv(f"GIT_CONFIG_{name}", value)
        with pytest.raises(OrderUnusable, match="invalid branch name"):
            check_out(sent, home, stage)
    assert (check_out(sent, home, stage) / "a").read_text() == "one\n"
    [objects] = (home / "sources").glob("*.git")
    for parts in (objects / "HEAD", stage / "clone/.git/HEAD", stage / "clone/.git/objects/info/alternates"):
        parts.unlink()
        assert (check_out(sent, home, stage) / "a").read_text() == "one\n"


def test_locks_of_killed_git_processes_are_removed(clone: Path, tmp_path: Path) -> None:
    """Locks and temporary files of a killed git in the worker's repositories hinder no order, and are removed."""
    stage, home = tmp_path / "stage", tmp_path / "home"
    stage.mkdir()
    check_out(order(clone, "a"), home, stage)
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "next")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/more/next")
    [objects] = (home / "sources").glob("*.git")
    names = (
        "HEAD.lock",
        "packed-refs.new",
        "refs/heads/more/next.lock",
        "objects/pack/tmp_pack_x",
        "objects/0a/tmp_obj_x",
    )
    leftovers = [folder / name for folder in (objects, stage / "clone/.git") for name in names]
    for path in [*leftovers, stage / "clone/.git/index.lock"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert (check_out(order(clone, "a"), home, stage) / "a").read_text() == "one\n"
    assert not [path for path in leftovers if path.exists()]


def test_a_repository_around_the_worker_s_home_is_never_used(clone: Path, tmp_path: Path) -> None:
    """Where the worker's home lies in another repository, its branches and files stay, whatever a kill has left."""
    around = tmp_path / "around"
    around.mkdir()
    git(around, "init", "--quiet", "--initial-branch=precious")
    git(around, "commit", "--quiet", "--allow-empty", "--message", "precious")
    (around / "file").touch()
    before = git(around, "for-each-ref"), git(around, "rev-parse", "HEAD")
    stage, home, sent = around / "home/stage", around / "home", order(clone, "a")
    name = hashlib.sha256(sent.source.encode()).hexdigest()[:16]
    (home / "sources" / f"{name}.git").mkdir(parents=True)
    (stage / "clone/.git").mkdir(parents=True)
    assert (check_out(sent, home, stage) / "a").read_text() == "one\n"
    assert (git(around, "for-each-ref"), git(around, "rev-parse", "HEAD")) == before
    assert (around / "file").exists()


def test_ignored_files_that_were_added_are_sent_with_each_order(clone: Path, tmp_path: Path) -> None:
    """A tracked file that matches .gitignore reaches the worker with each order in its current form, and is removed
    there once it is removed here; ignored outputs of a stage stay.
    """
    (tmp_path / "stage").mkdir()
    (clone / ".gitignore").write_text("*.ignored\n")
    git(clone, "add", ".gitignore")
    git(clone, "commit", "--quiet", "--message", "ignore")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/ignoring")
    (clone / "new.ignored").touch()
    git(clone, "add", "--force", "new.ignored")
    for text in ("one\n", "one\n", "two\n"):
        (clone / "new.ignored").write_text(text)
        root = check_out(order(clone, "new.ignored"), tmp_path / "home", tmp_path / "stage")
        assert (root / "new.ignored").read_text() == text
        (root / "made.ignored").touch()
    git(clone, "rm", "--quiet", "--force", "new.ignored")
    root = check_out(order(clone), tmp_path / "home", tmp_path / "stage")
    assert [path.name for path in root.glob("*.ignored")] == ["made.ignored"]


def test_a_branch_may_replace_a_prefix_of_its_name(clone: Path, tmp_path: Path) -> None:
    """If `feature` is deleted and `feature/x` pushed, or the reverse, the worker still fetches both."""
    (tmp_path / "stage").mkdir()
    for previous, branch in ((None, "feature"), ("feature", "feature/x"), ("feature/x", "feature")):
        if previous:
            git(clone, "push", "--quiet", "origin", f":refs/heads/{previous}")
        (clone / "a").write_text(f"{branch} after {previous}\n")
        git(clone, "commit", "--quiet", "--all", "--message", branch)
        git(clone, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        sent = order(clone, "a")
        assert sent.commit == git(clone, "rev-parse", "HEAD").strip()
        root = check_out(sent, tmp_path / "home", tmp_path / "stage")
        assert (root / "a").read_text() == f"{branch} after {previous}\n"


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
def test_git_settings_do_not_change_the_patch(clone: Path, tmp_path: Path, setting: dict[str, str]) -> None:
    """Whatever the user's settings for `git diff` are, the worker gets the same files."""
    (clone.parent / ".gitattributes").write_text("* diff=upper\n")
    (clone.parent / "above").write_text("new\n")
    git(clone, "add", "--all", ":/")
    (clone / "a").write_text("two\n")
    plain = order(clone, "a")
    for name, value in setting.items():
        git(clone, "config", name, value)
    sent = order(clone, "a")
    assert sent == plain
    (tmp_path / "stage").mkdir()
    root = check_out(sent, tmp_path / "home", tmp_path / "stage")
    assert ((root / "a").read_text(), (root.parent / "above").read_text()) == ("two\n", "new\n")


def test_unsendable_code_is_refused(clone: Path, tmp_path: Path) -> None:
    """An untracked file, too large a patch and a missing commit each give an error that says so."""
    (clone / "new").write_text("new\n")
    with pytest.raises(CannotBeSent, match=r"it reads new, which git does not track.*`git add` it"):
        order(clone, "a", "new")
    (clone / "a").write_bytes(os.urandom(MAX_PATCH_BYTES))
    with pytest.raises(CannotBeSent, match="an order holds at most 300,000; commit and push them"):
        order(clone, "a")
    git(tmp_path, "init", "--quiet", "empty")
    with pytest.raises(CannotBeSent, match="commit first"):
        order(tmp_path / "empty")


@pytest.mark.parametrize(
    "error",
    [StageFailed("s", 69, ["error: away"]), StageTimedOut("s", 3.0), Interrupted("s"), InkflowError("s: broken")],
)
def test_errors_survive_the_report(error: InkflowError) -> None:
    """An error that a worker reports has the same class, exit code and message on the orchestrator."""
    ending, code, words = describe_error(error)
    report = Report.from_table(Report("w", "s", ending=ending, code=code, words=words).to_table())
    assert report is not None
    restored = report.error(3.0)
    assert type(restored) is type(error)
    assert restored.exit_code == error.exit_code
    if ending is not ExitStatus.BROKEN:
        assert str(restored) == str(error)


def test_versions_are_compared_by_name(clone: Path) -> None:
    """Differences name both versions, and equal versions are not listed; Python's third number is ignored."""
    equal = order(clone).model_copy(update={"versions": installed_versions(["python", "numpy", "no-such-package"])})
    assert version_differences(equal) == ""
    other = equal.model_copy(update={"versions": {"numpy": "0.1"}})
    assert version_differences(other).endswith("instead of 0.1")
    major, minor, _ = platform.python_version_tuple()
    for python, differences in ((f"{major}.{minor}", ""), ("3.2", f"python {major}.{minor} instead of 3.2")):
        assert version_differences(equal.model_copy(update={"versions": {"python": python}})) == differences


@pytest.mark.parametrize("slots", ["abc", "0", "1.5"])
def test_invalid_slots_are_refused(slots: str, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose INKFLOW_WORKER_SLOTS is not a positive number refuses orders, and says what it expects."""
    monkeypatch.setenv("INKFLOW_WORKER_SLOTS", slots)
    with pytest.raises(
        OrderUnusable, match=f"INKFLOW_WORKER_SLOTS is '{slots}', expected a whole number of at least 1"
    ):
        Executor(order(clone), print).run()


@pytest.mark.parametrize("memory", ["lots", "0", "-1", "4 parsecs"])
def test_invalid_memory_is_refused(memory: str, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose INKFLOW_WORKER_MEMORY is no amount of memory refuses orders, and says what it expects."""
    monkeypatch.setenv("INKFLOW_WORKER_MEMORY", memory)
    with pytest.raises(OrderUnusable, match=f"INKFLOW_WORKER_MEMORY is '{memory}', expected an amount of memory"):
        Executor(order(clone), print).run()


def test_stages_in_pools_take_no_jobs() -> None:
    """With one job, all stages of a pool start at once, in parallel with one local stage."""
    stages = [Stage(name) for name in ("a", "p@1", "p@2", "b")]
    policies = Policies(stages={"p@*": StagePolicy(pool="gpu", slots=4, gpus=2)})
    scheduler = Scheduler(stages, {stage.name: policies.of(stage.name) for stage in stages}, jobs=1, gpus=[0])
    while scheduler.start_next():
        pass
    assert set(scheduler.running) == {"a", "p@1", "p@2"}
    assert policies.without_pools().of("p@1").pool is None
