"""Redaction: secrets that control characters divide, within Base64, in lists, and in lines with carriage returns."""

import ast
import base64
import io
import os
import time
import urllib.parse
from typing import Any

import pytest

from flows.core.redaction import mask, masked_lines
from flows.prefect_server.environment import variables_set
from stages.base.shown_text import mask_urls
from tests.support.root import ROOT

SECRET = "correct-horse+battery/staple"
pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    "divided",
    [
        "corr\x1b[0mect-horse+battery/staple",
        "\x1b[1;31mcorrect-horse\x1b[0m+battery/staple",
        "correct\x1b]8;;http://h\x07-horse+battery/staple",
        "correct-ho\rrse+battery/staple",
        "correct-horsX\x08e+battery/staple",
        "correct\u200b-horse+bat\u202etery/staple",
    ],
)
def test_control_characters_hide_no_secret(divided: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is hidden that a colour code, a carriage return or an invisible character divides."""
    monkeypatch.setenv("TOKEN", SECRET)
    assert mask(f"a {divided} b") == "a *** b"


@pytest.mark.parametrize("text", [f"bob:{SECRET}", f"x-access-token:{SECRET}", f"ab:{SECRET}\n", SECRET])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_with_a_user(text: str, encode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Base64 of a secret with any user before it is hidden as a whole."""
    monkeypatch.setenv("MIRROR", f"https://someone:{urllib.parse.quote(SECRET, safe='')}@h/x")
    assert mask(f"Basic {encode(text.encode()).decode()} and {encode(b'other text').decode()}") == (
        f"Basic *** and {encode(b'other text').decode()}"
    )


def test_token_of_an_address_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in the query of a URL in the environment is hidden on its own too."""
    monkeypatch.setenv("DATA_URL", "https://h/x?page=2&token=abc%2Bdef")
    assert mask("got abc+def, abc%2Bdef of page 2") == "got ***, *** of page 2"


def test_a_long_secret_that_begins_like_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that begins with a slash, as Base64 may, is hidden also if no file can have a name of that length."""
    monkeypatch.setenv("TOKEN", f"/{'a' * 300}")
    assert mask(f"got /{'a' * 300}") == "got ***"


def test_several_secrets_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several keys in one variable is hidden on its own, and each value of a cookie."""
    monkeypatch.setenv("API_KEYS", "first-key,second-key")
    monkeypatch.setenv("COOKIE", "sid=abcdefgh; theme=dark-blue")
    assert mask("second-key first-key abcdefgh") == "*** *** ***"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("10 %\r20 %\rdone\n", ["10 %", "20 %", "done"]),
        ("a\r\nb\n", ["a", "b"]),
        ("1 c\r2 c\r3 c\rlast c", ["1 c", "2 c", "3 c", "last c"]),
        ("correct-ho\rrse+battery/staple\nnext\n", ["***", "next"]),
        ("a correct\r-horse+batt\rery/staple b\nnext\n", ["a *** b", "next"]),
        ("x correct\r", ["x correct"]),
    ],
)
def test_lines_with_carriage_returns(text: str, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A carriage return ends a line, as in progress bars, unless the lines hold one secret together."""
    monkeypatch.setenv("TOKEN", SECRET)
    source = list(io.StringIO(text, newline=""))
    assert list(masked_lines([source])) == list(masked_lines([line] for line in source)) == lines


@pytest.mark.parametrize("hostile", ["a://b:" * 50_000, "\x1b[" * 100_000, "\x1b]" * 100_000, "&a=" * 100_000])
def test_long_lines_are_masked_in_linear_time(hostile: str) -> None:
    """A line of hundreds of thousands of characters that begin a URL or a control sequence is masked at once."""
    begin = time.process_time()
    mask(hostile)
    assert time.process_time() - begin < 20  # quadratic time is minutes


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-Proxy": "Bearer first-token"}', "first-token"),
        ("EXTRA_HEADERS", '[{"a": ["second-token"]}, 5, null]', "second-token"),
        ("DOCKER_AUTH_CONFIG", '{"auths": {"r.example": {"auth": "bWU6dGhpcmQtdG9rZW4="}}}', "bWU6dGhpcmQtdG9rZW4="),
        ("DOCKER_AUTH_CONFIG", '{"auths": {"r.example": {"auth": "bWU6dGhpcmQtdG9rZW4="}}}', "third-token"),
        ("API_KEYS", '{"openai": "sk-live-1234567"}', "sk-live-1234567"),
        ("SECRETS", '{"DEPLOY": "hunter22"}', "hunter22"),
        ("TOKENS", '{"github": {"value": "ghp_abcdef"}}', "ghp_abcdef"),
        ("PGPASSWORD_JSON", '{"password": {"value": "abcdefg"}}', "abcdefg"),
        ("X_AUTH", '"user:secretpass"', "secretpass"),
    ],
)
def test_secrets_in_json(name: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text in the JSON of a secret variable is hidden on its own, and its token after `Bearer`; keys are shown."""
    monkeypatch.setenv(name, value)
    assert mask(f"got {shown} for X-Proxy of r.example") == "got *** for X-Proxy of r.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOOGLE_CREDENTIALS", '{"type": "service_account", "project_id": "digits", "private_key": "of-google"}'),
        ("DOCKER_AUTH_CONFIG", '{"credsStore": "desktop", "HttpHeaders": {"User-Agent": "x (digits)"}}'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"Accept": "service_account", "User-Agent": "desktop"}'),
        ("APP_CORS_ALLOW_HEADERS", "digits, desktop"),
        ("GOOGLE_CREDENTIALS", '{"credentials": {"project_id": "digits", "private_key": "of-google"}}'),
        ("REQUEST_HEADERS", "Accept: desktop, service_account; charset=digits"),
        ("EXTRA_HEADERS", '{"X-Project": "acme digits"}'),
    ],
)
def test_names_in_the_json_of_a_secret_are_shown(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Projects, stores, programs and types of content in it are no secrets: they are ordinary words."""
    monkeypatch.setenv(name, value)
    text = "digits on desktop by service_account, END PRIVATE KEY-----"
    assert mask(text) == text


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("http.https://git.example/.extraheader", "***"),
        ("http.proxyPassword", "***"),
        ("user.name", "fourth-token"),
    ],
)
def test_options_of_git_in_the_environment(key: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of an option of git is hidden if its key names a header or a password."""
    monkeypatch.setenv("GIT_CONFIG_KEY_3", key)
    monkeypatch.setenv("GIT_CONFIG_VALUE_3", "AUTHORIZATION: bearer fourth-token")
    assert mask("sent fourth-token") == f"sent {shown}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REQUEST_HEADERS", "Content-Type: text/html\nAuthorization: Bearer fifth-token"),
        ("EXTRA_HEADERS", "Accept=text/html,api-key=fifth-token"),
        ("EXTRA_HEADERS", '{"Cookie": "theme=blue; sid=fifth-token"}'),
        ("GIT_CONFIG_PARAMETERS", "'http.extraheader=Authorization: Bearer fifth-token'"),
        ("GIT_CONFIG_PARAMETERS", "'user.name=me' 'http.https://h/.extraheader'='Authorization: Bearer fifth-token'"),
        ("GIT_CONFIG_PARAMETERS", "'http.proxyPassword'='fifth-token'"),
        ("GIT_CONFIG_VALUE_0", "!f() { echo username=me; echo password=fifth-token; }; f"),
    ],
)
def test_secrets_among_headers_and_options(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret among several headers, options of git, or in a command of git, is hidden; what is plain is shown."""
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "credential.helper")
    monkeypatch.setenv(name, value)
    assert mask("fifth-token of text/html, username") == "*** of text/html, username"


def test_variables_that_are_replaced_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage has the secrets of the caller while this process has other settings: both are masked, and only then."""
    monkeypatch.setenv("PREFECT_API_KEY", "of the caller")
    monkeypatch.setenv("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-Proxy": "Bearer 12345678"}')
    variables = {"PREFECT_API_KEY": "of the server", "PREFECT_CLIENT_CUSTOM_HEADERS": None}
    with variables_set(variables):
        assert "PREFECT_CLIENT_CUSTOM_HEADERS" not in os.environ
        assert mask("of the caller, of the server, 12345678") == "***, ***, ***"
    assert mask("of the caller, of the server, 12345678") == "***, of the server, ***"


@pytest.mark.parametrize("folder", ["flows", "stages", "inkflow"])
def test_no_message_masks_its_own_example(folder: str) -> None:
    """An address that a message gives as an example is shown as it is: `[USER:PASSWORD@]HOST` has no password."""
    masked = {
        f"{file.relative_to(ROOT)}:{node.lineno}": node.value
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and mask_urls(node.value) != node.value
    }
    assert masked == {}
    assert mask("postgresql://[USER:PASSWORD@]HOST/NAME") == "postgresql://[USER:PASSWORD@]HOST/NAME"
    assert mask("postgresql://me:PASSWORD@host/name") == "postgresql://me:***@host/name"
