"""The comment on a pull or merge request, on a real HTTP server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.ci.comment import MARK
from flows.cli.main import main as inkflow_here
from flows.core.errors import CommentFailed
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.support.comment_server import TOKEN, Comments
from tests.support.remote_servers import free_port

VARIABLES = ("GITHUB_ACTIONS", "GITLAB_CI", "GITHUB_TOKEN", "GH_TOKEN")


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests may be part of a job themselves."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def lane(*arguments: str) -> int:
    """Exit code of `inkflow ci ...` here."""
    return inkflow_here(["ci", *arguments])


@pytest.fixture
def comments() -> Iterator[Comments]:
    """A server that keeps comments."""
    with Comments().running() as server:
        yield server


@pytest.fixture(params=["GitHub", "GitLab"])
def job(
    request: pytest.FixtureRequest, comments: Comments, tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The environment of a job for request 7; the name of the variable with the token."""
    if request.param == "GitHub":
        event = tmp_path / "event.json"
        event.write_text(json.dumps({"pull_request": {"number": 7}}))
        variables = {
            "GITHUB_ACTIONS": "true", "GITHUB_API_URL": comments.url, "GITHUB_REPOSITORY": "us/inkflow",
            "GITHUB_EVENT_PATH": str(event), "GITHUB_TOKEN": TOKEN,
        }  # fmt: skip
    else:
        variables = {
            "GITLAB_CI": "true", "CI_API_V4_URL": comments.url, "CI_PROJECT_ID": "42", "CI_MERGE_REQUEST_IID": "7",
            "INKFLOW_GITLAB_TOKEN": TOKEN,
        }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    toy.write({".inkflow/ci/check.md": "### check\n", ".inkflow/ci/run.md": f"### run {TOKEN}\n"})
    return [*variables][-1]


@pytest.mark.usefixtures("job")
def test_one_comment(comments: Comments, toy: Toy) -> None:
    """The first time a comment is written, with the summaries of both lanes and no secret; later it is written anew,
    also where it stands behind many others.
    """
    for number in range(1, 151):
        comments.bodies[number] = f"somebody's words, who quotes {MARK}"
    assert lane("comment") == 0
    assert len(comments.bodies) == 151
    assert comments.bodies[151] == f"{MARK}\n\n### check\n\n### run ***"
    toy.write({".inkflow/ci/run.md": "### run again\n"})
    assert lane("comment") == 0
    assert len(comments.bodies) == 151
    assert comments.bodies[151].endswith("### run again") and comments.bodies[1].startswith("somebody")


def test_comment_that_is_refused(comments: Comments, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that may not write, or none: a sentence that says what is missing."""
    monkeypatch.setenv(job, "a-token-that-may-not")
    with pytest.raises(CommentFailed, match="was answered 403: the token needs"):
        lane("comment")
    monkeypatch.delenv(job)
    assert lane("comment") == 0
    assert comments.bodies == {}


@pytest.mark.parametrize("job", ["GitHub"], indirect=True)
def test_comment_without_a_server(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is away is one sentence."""
    monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(CommentFailed, match=r"127\.0\.0\.1 cannot be reached"):
        lane("comment")


@pytest.mark.parametrize("job", ["GitHub"], indirect=True)
def test_long_summary_is_cut(job: str, comments: Comments, toy: Toy) -> None:
    """A summary longer than GitHub takes is cut, and says so."""
    toy.write({".inkflow/ci/run.md": "x" * 100_000})
    assert lane("comment") == 0
    assert len(comments.bodies[1]) < 65_536 and comments.bodies[1].endswith("the rest is on the job's page)")


def test_comment_where_there_is_nothing_to_comment(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a person's machine and in a job for a branch nothing is done, and that is said."""
    assert lane("comment") == 0
    assert "no comment: this is no job of GitHub or GitLab" in capsys.readouterr().out
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"schedule": "0 2 * * *"}))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    assert lane("comment") == 0
    assert "no comment: this job is for no pull request" in capsys.readouterr().out


@pytest.mark.usefixtures("job")
def test_comment_without_a_summary(toy: Toy) -> None:
    """Without a summary there is nothing to say: bad input."""
    for path in toy.folder.glob(".inkflow/ci/*"):
        path.unlink()
    with pytest.raises(InvalidInput, match="there is no summary"):
        lane("comment")
