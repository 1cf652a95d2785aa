"""Requests of a branch and statuses of a commit, on a real HTTP server that speaks the APIs of GitHub and GitLab."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from flows.ci import forge
from flows.ci.forge import Forge, find_forge
from flows.ci.pull_request import Check, PullRequests
from flows.core.errors import ForgeFailed
from tests.support.forge_server import TOKEN, ForgeServer
from tests.support.loopback import free_port

CHECKS = [Check("inkflow/lower_bound", True, "2 of 2 models passed"), Check("inkflow/accepted", False, "x" * 200)]
GITLAB_COM = "https://gitlab.com/api/v4"


@pytest.fixture
def server() -> Iterator[ForgeServer]:
    """A running forge."""
    with ForgeServer().running() as server:
        yield server


@pytest.fixture(params=["GitHub", "GitLab"])
def requests(request: pytest.FixtureRequest, server: ForgeServer) -> Iterator[PullRequests]:
    """The requests of the server's repository, at a forge of each kind."""
    found = find_forge("/srv/inkflow.git", server.environment(request.param))
    assert isinstance(found, Forge) and found.kind == request.param and TOKEN not in repr(found)
    with forge.client(found.headers) as session:
        yield PullRequests(session, found)


def test_one_request_for_a_branch(requests: PullRequests, server: ForgeServer) -> None:
    """The first call opens a request, a second one updates it; one that another run opened in between is updated."""
    assert requests.put("retrain/a", "main", "one", "first text").endswith(f"request 1 opened: {server.url}/r/1")
    assert "request 1 updated" in requests.put("retrain/a", "main", "two", "second text")
    server.hidden = True
    assert "request 1 updated" in requests.put("retrain/a", "main", "three", "third text")
    assert {number: (item["title"], item["body"]) for number, item in server.requests.items()} == {
        1: ("three", "third text")
    }
    server.requests[1]["state"] = "closed"
    assert "request 2 opened" in requests.put("retrain/a", "main", "one", "text")


def test_statuses(requests: PullRequests, server: ForgeServer) -> None:
    """Each check becomes a status of the commit, with a text that GitHub takes; the same one is not sent twice."""
    requests.set_statuses("abc", CHECKS)
    states = {name: (state, len(text)) for (_, name), (state, text) in server.statuses.items()}
    assert states["inkflow/lower_bound"] == ("success", 20)
    assert states["inkflow/accepted"][0] in ("failure", "failed") and states["inkflow/accepted"][1] == 140
    sent = server.calls.count(("POST", next(path for method, path in server.calls if method == "POST")))
    requests.set_statuses("abc", CHECKS)
    assert sum(method == "POST" for method, _ in server.calls) == sent == 2


def test_what_is_not_judged_is_not_green(requests: PullRequests, server: ForgeServer) -> None:
    """A check that neither passed nor failed has a state of its own, with its sentence; a later success replaces it."""
    check = Check("inkflow/gap_points", None, "not judged: digits only stands in for mnist")
    requests.set_statuses("abc", [check])
    state, text = server.statuses["abc", check.name]
    assert state in ("error", "canceled") and text == check.sentence
    requests.set_statuses("abc", [check._replace(passed=True)])
    assert server.statuses["abc", check.name][0] == "success"


def test_merged_branches(requests: PullRequests, server: ForgeServer) -> None:
    """The branch that a commit merged is found; another commit has none."""
    server.merged["abc"] = "retrain/a"
    assert requests.merged_branches("abc") == ["retrain/a"] and requests.merged_branches("def") == []


@pytest.mark.parametrize(
    ("code", "answer", "message"),
    [
        (401, {"message": "Bad credentials"}, "answered 401: the token is wrong or has expired"),
        (403, {}, "answered 403: the token needs"),
        (403, {"message": "rate limit exceeded"}, "(the server's message: rate limit exceeded)"),
        (404, {}, "answered 404: the token needs"),
        (422, {"message": "Validation Failed", "errors": [{"message": "No commits"}]}, "Validation Failed; No commits"),
        (400, ["no"], "answered 400: no reason"),
        (503, b"busy", "answered 503: the server has a problem; try again later"),
        (302, b"http://127.0.0.1:1/", "a redirect, which is not followed"),
        (200, b"<html>", "something that is not JSON"),
        (200, {"html_url": "http://x"}, "in a form that no forge has"),
        (200, [1], "in a form that no forge has"),
        (200, {"html_url": 7, "number": 1}, "html_url: 7, expected str"),
        (200, b"[" * 100_000, "something that is not JSON"),
    ],
)
def test_a_refusal_is_one_sentence(server: ForgeServer, code: int, answer: object, message: str) -> None:
    """Whatever the forge answers, the error is one sentence without the token, and names no other cause."""
    server.answers["POST", "/repos/us/inkflow/pulls"] = (code, answer)
    found = find_forge("/srv/inkflow.git", server.environment("GitHub"))
    assert isinstance(found, Forge)
    with forge.client(found.headers) as session, pytest.raises(ForgeFailed) as raised:
        PullRequests(session, found).put("retrain/a", "main", "title", "text")
    text = str(raised.value)
    assert message in text and "\n" not in text and TOKEN not in text


@pytest.mark.parametrize("items", [{"message": "no list"}, ["text"], [{"head": None, "base": {"repo": {"id": 1}}}]])
def test_a_list_of_another_form(server: ForgeServer, items: object) -> None:
    """A list of requests that cannot be read is an error, and no request is opened in the dark."""
    server.answers["GET", "/repos/us/inkflow/pulls"] = (200, items)
    found = find_forge("/srv/inkflow.git", server.environment("GitHub"))
    assert isinstance(found, Forge)
    with forge.client(found.headers) as session, pytest.raises(ForgeFailed, match="was answered"):
        PullRequests(session, found).put("retrain/a", "main", "title", "text")
    assert server.requests == {}


def test_a_forge_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not listen is named."""
    monkeypatch.setattr(forge, "CONNECT_RETRIES", 0)  # between them are pauses
    environment = {"GITHUB_API_URL": f"http://127.0.0.1:{free_port()}", "GITHUB_TOKEN": TOKEN}
    found = find_forge("git@git.example:us/inkflow.git", environment)
    assert isinstance(found, Forge)
    with forge.client(found.headers) as session, pytest.raises(ForgeFailed, match=r"127\.0\.0\.1 cannot be reached"):
        PullRequests(session, found).default_branch()


@pytest.mark.parametrize("token", ["a-token\n", "a-töken"])
def test_a_token_that_cannot_be_sent(token: str) -> None:
    """A token with a line feed or a letter of another alphabet is refused with a sentence that does not show it."""
    with pytest.raises(ForgeFailed, match="characters that no token has") as raised:
        forge.client(forge.github_forge("http://127.0.0.1", "us/ink", token).headers).__enter__()
    assert token.strip() not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("git@github.com:us/ink.git", ["GH_TOKEN"], "https://api.github.com/repos/us/ink"),
        ("https://github.com/us/ink", ["GITHUB_TOKEN"], "https://api.github.com/repos/us/ink"),
        ("ssh://git@gitlab.com:22/us/a/ink.git", ["INKFLOW_GITLAB_TOKEN"], f"{GITLAB_COM}/projects/us%2Fa%2Fink"),
        ("https://git.corp/us/ink.git", ["GITHUB_TOKEN", "GITHUB_API_URL"], "https://git.corp/api/repos/us/ink"),
        ("git@git.corp:us/ink", ["INKFLOW_GITLAB_TOKEN", "CI_API_V4_URL"], "https://git.corp/api/projects/us%2Fink"),
        ("https://gitlab.com/us/ink", ["GITHUB_TOKEN", "GITHUB_API_URL"], "INKFLOW_GITLAB_TOKEN is not set"),
        ("https://github.com/us/ink", ["INKFLOW_GITLAB_TOKEN", "CI_API_V4_URL"], "GITHUB_TOKEN is not set"),
        (
            "https://git.corp/us/ink.git",
            ["GITHUB_TOKEN"],
            "git.corp is neither github.com nor gitlab.com; set GITHUB_A",
        ),
        ("/srv/ink.git", ["INKFLOW_GITLAB_TOKEN"], "the remote is neither github.com nor gitlab.com; set CI_API_V4_U"),
        ("https://[broken/us", [], "no token of a forge is set"),
    ],
)
def test_which_forge(url: str, variables: list[str], expected: str) -> None:
    """Host, kind and project follow from the remote; a token goes to its own forge or to a stated address alone."""
    environment = {name: "https://git.corp/api/" if "API" in name else "a-token" for name in variables}
    found = find_forge(url, environment)
    assert expected in (found.url if isinstance(found, Forge) else found)


@pytest.mark.parametrize("variable", ["CI_API_V4_URL", "GITHUB_API_URL"])
def test_a_company_s_token_stays_with_the_company(variable: str) -> None:
    """With the address of a company's server, no remote at gitlab.com or github.com gets the token for that server."""
    token, host = {
        "CI_API_V4_URL": ("INKFLOW_GITLAB_TOKEN", "gitlab.com"),
        "GITHUB_API_URL": ("GITHUB_TOKEN", "github.com"),
    }[variable]
    environment = {variable: "https://git.corp/api/v4", token: TOKEN, "CI_PROJECT_ID": "42"}
    found = find_forge(f"https://{host}/us/ink.git", environment)
    assert isinstance(found, str) and TOKEN not in found
    assert found.startswith(f"the remote is at {host}, but {token} is for https://git.corp/api/v4 ({variable}); corre")
    same = find_forge(f"https://{host}/us/ink.git", environment | {variable: forge.PUBLIC_API[host] + "/"})
    assert isinstance(same, Forge) and same.url.startswith(f"{forge.PUBLIC_API[host]}/")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/us/ink.git", "https://api.github.com/repos/us/ink"),
        ("git@github.com:ink.git", "https://api.github.com/repos/the/job"),
        ("https://git.corp/us/a/ink.git", "https://git.corp/forge/api/v4/projects/us%2Fa%2Fink"),
        ("https://git.corp/forge/us/ink.git", "https://git.corp/forge/api/v4/projects/us%2Fink"),
        ("/srv/us/ink.git", "https://git.corp/forge/api/v4/projects/42"),
    ],
)
def test_the_repository_is_that_of_the_remote(url: str, expected: str) -> None:
    """In a job of another repository the request is opened in that of the remote, as long as this one names it."""
    environment = {"GITHUB_REPOSITORY": "the/job", "GITHUB_TOKEN": TOKEN, "CI_PROJECT_ID": "42"}
    if "github" not in expected:
        environment |= {"INKFLOW_GITLAB_TOKEN": TOKEN, "CI_API_V4_URL": "https://git.corp/forge/api/v4"}
    found = find_forge(url, environment)
    assert isinstance(found, Forge) and found.url == expected


@pytest.mark.parametrize(
    ("remote", "lent"),
    [
        ("https://git.corp/us/ink.git", "a-token"),
        ("https://user@git.corp/us/ink.git", "a-token"),
        ("https://other.corp/us/ink.git", ""),
        ("http://git.corp/us/ink.git", ""),
        ("git@git.corp:us/ink.git", ""),
    ],
)
def test_git_gets_the_token_for_its_own_host(remote: str, lent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git gets the token from a helper for a remote at the forge by HTTPS alone; no setting has the token itself."""
    for name in ("GH_TOKEN", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("GITHUB_TOKEN", "a-token")
    before = set(os.environ.items())
    forge.lend_token(forge.github_forge("https://git.corp/api/v3", "us/ink", "a-token"), remote)
    settings = [value for _, value in os.environ.items() - before]
    assert bool(settings) == bool(lent) and "a-token" not in " ".join(settings)
    for host, expected in (("git.corp", lent), ("evil.example", "")):
        command = ["git", "credential", "fill"]
        question = f"protocol=https\nhost={host}\nusername=u\n\n"
        environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true"}
        answer = subprocess.run(command, input=question, env=environment, capture_output=True, text=True).stdout
        assert (f"password={expected}" in answer.splitlines()) or not expected
        assert ("a-token" in answer) == bool(expected)


def test_a_secret_is_masked_before_a_refusal_is_cut(server: ForgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's reason is cut after its secrets are masked: it shows no part of one."""
    monkeypatch.setenv("STORE_PASSWORD", "hunter22" * 10)
    server.answers["POST", "/repos/us/inkflow/pulls"] = (422, {"message": f"{'x' * 180} {'hunter22' * 10}"})
    found = find_forge("/srv/inkflow.git", server.environment("GitHub"))
    assert isinstance(found, Forge)
    with forge.client(found.headers) as session, pytest.raises(ForgeFailed) as raised:
        PullRequests(session, found).put("retrain/a", "main", "title", "text")
    assert str(raised.value).endswith(f"{'x' * 180} ***")
