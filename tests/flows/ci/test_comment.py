"""The comment on a pull or merge request, on a real HTTP server."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.ci import forge
from flows.ci.comment import MARK
from flows.cli.main import main as inkflow_here
from flows.core.errors import CommentFailed
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.support.comment_server import TOKEN, Comments
from tests.support.loopback import JsonHandler, free_port, serving

VARIABLES = ("GITHUB_ACTIONS", "GITLAB_CI", "GITHUB_TOKEN", "GH_TOKEN")


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the variables of a CI job in which these tests may run."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def lane(*arguments: str) -> int:
    """Runs `inkflow ci ...` in this process and returns the exit code."""
    return inkflow_here(["ci", *arguments])


@pytest.fixture
def comments() -> Iterator[Comments]:
    """A running server of comments."""
    with Comments().running() as server:
        yield server


@pytest.fixture(params=["GitHub", "GitLab"])
def job(
    request: pytest.FixtureRequest, comments: Comments, tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Sets the environment of a job for request 7; returns the name of the variable with the token."""
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
    """The first job creates a comment with the summaries of both lanes and no secret; later jobs update it, also when
    it comes after many other comments.
    """
    for number in range(1, 151):
        comments.bodies[number] = f"a comment of a user that quotes {MARK}"
    assert lane("comment") == 0
    assert len(comments.bodies) == 151
    assert comments.bodies[151] == f"{MARK}\n\n### check\n\n### run ***"
    toy.write({".inkflow/ci/run.md": "### run again\n"})
    assert lane("comment") == 0
    assert len(comments.bodies) == 151
    assert comments.bodies[151].endswith("### run again") and comments.bodies[1].startswith("a comment of a user")


@pytest.mark.usefixtures("job")
def test_a_comment_of_a_stranger(comments: Comments) -> None:
    """A comment that another account begins with our mark is not changed: it would be theirs to edit."""
    comments.bodies[1], comments.strangers = f"{MARK} all passed", {1}
    for _ in range(2):
        assert lane("comment") == 0
    assert comments.bodies[1] == f"{MARK} all passed"
    assert list(comments.bodies) == [1, 2] and "### check" in comments.bodies[2]


def test_comment_that_is_refused(comments: Comments, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without write permission, the error names the missing permission; without a token, no comment is written."""
    monkeypatch.setenv(job, "a-token-that-may-not")
    with pytest.raises(CommentFailed, match="was answered 403: the token needs"):
        lane("comment")
    monkeypatch.delenv(job)
    assert lane("comment") == 0
    assert comments.bodies == {}


@pytest.mark.parametrize("job", ["GitHub"], indirect=True)
def test_comment_without_a_server(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that cannot be reached is reported in one sentence."""
    monkeypatch.setattr(forge, "CONNECT_RETRIES", 0)  # between them are pauses
    monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(CommentFailed, match=r"127\.0\.0\.1 cannot be reached"):
        lane("comment")


@pytest.mark.parametrize("items", [["x"], [{"id": 1}], [{"id": None, "body": MARK}], [{"id": 1, "body": None}]])
@pytest.mark.parametrize("job", ["GitHub"], indirect=True)
def test_a_list_of_another_form(job: str, items: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of comments in another form is an error in one sentence, and no comment is written in the dark."""

    class Handler(JsonHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, items)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{http.server_port}")
    with serving(http), pytest.raises(CommentFailed, match="was answered in a form that no forge has"):
        lane("comment")


@pytest.mark.parametrize("job", ["GitHub"], indirect=True)
def test_long_summary_is_cut(job: str, comments: Comments, toy: Toy) -> None:
    """A summary longer than GitHub's limit is cut, and a note at the end says so."""
    toy.write({".inkflow/ci/run.md": "x" * 100_000})
    assert lane("comment") == 0
    assert len(comments.bodies[1]) < 65_536 and comments.bodies[1].endswith("the rest is on the job's page)")


def test_no_comment_without_a_pull_request(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a user's machine and in a job for a branch, a line says why no comment is written."""
    assert lane("comment") == 0
    assert "no comment: this is not a job of GitHub or GitLab" in capsys.readouterr().out
    event = tmp_path / "event.json"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    for text in (json.dumps({"schedule": "0 2 * * *"}), "[" * 100_000):
        event.write_text(text)
        assert lane("comment") == 0
        assert "no comment: this job has no pull request" in capsys.readouterr().out


@pytest.mark.usefixtures("job")
def test_comment_without_a_summary(toy: Toy) -> None:
    """A job without a summary is bad input."""
    for path in toy.folder.glob(".inkflow/ci/*"):
        path.unlink()
    with pytest.raises(InvalidInput, match="there is no summary"):
        lane("comment")
