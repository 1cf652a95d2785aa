"""Redaction: secrets of every kind appear as `***` in all output of a run."""

import base64
import json
import logging
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from configobj import ConfigObj  # type: ignore[import-untyped]

from flows.core.redaction import mask, secrets_in_config
from tests.conftest import Inkflow, Project, wait_until
from tests.flows.test_pipeline import finished_run
from tests.support.prefect_api import api

SECRET = "correct-horse+battery/staple"
pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "DB_PASSWORD", "PGPASSWORD",
        "MYSQL_PWD", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "AZURE_STORAGE_CONNECTION_STRING", "api_key",
        "SSH_PASSPHRASE", "MY_SECRETS", "GH_PAT", "AZURE_DEVOPS_EXT_PAT", "API_KEYS", "SESSION_COOKIE", "JWT", "ID_JWT",
        "NPMTOKEN", "APIKEY", "DEPLOY_KEY_BASE64", "AUTHORIZATION", "OTEL_EXPORTER_OTLP_HEADERS", "REGISTRY_CREDS",
        "GOOGLE_CREDENTIALS", "INKFLOW_SSH_KEY", "INKFLOW_WEBHOOK", "SLACK_WEBHOOK_URL",
        "SSHPASS", "PREFECT_CLIENT_CUSTOM_HEADERS",
    ],
)  # fmt: skip
def test_variables_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a variable whose name marks a secret is hidden, also within other text."""
    monkeypatch.setenv(name, SECRET)
    assert mask(f"a {SECRET}, b={SECRET}") == "a ***, b=***"


@pytest.mark.parametrize(
    "name",
    [
        "KEYBOARD",
        "PATH",
        "PATTERN",
        "GIT_AUTHOR_NAME",
        "KEYS_FOLDER",
        "PWD",
        "OLDPWD",
        "MONKEY",
        "TOKENIZERS_PARALLELISM",
        "AUTHOR",
        "HOME",
    ],
)
def test_other_variables_are_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with a similar name does not hide its value."""
    monkeypatch.setenv(name, SECRET)
    assert mask(SECRET) == SECRET


def test_short_values_switches_and_paths_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Values below five characters, switches and paths are not hidden."""
    monkeypatch.setenv("A_TOKEN", "true")
    monkeypatch.setenv("B_TOKEN", "False")
    monkeypatch.setenv("C_TOKEN", "")
    (tmp_path / "key").touch()
    monkeypatch.setenv("D_KEY", str(tmp_path / "key"))
    assert mask(f"true False {tmp_path / 'key'}") == f"true False {tmp_path / 'key'}"


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text,
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: json.dumps(text),
        lambda text: base64.b64encode(text.encode()).decode(),
    ],
)
def test_forms(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is hidden as plain text, quoted for a URL, in JSON and in Base64."""
    secret = 'quote " and / and +'
    monkeypatch.setenv("TOKEN", secret)
    shown = mask(form(secret))
    assert "***" in shown and form(secret) not in shown and secret not in shown


def test_lines_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of a secret with several lines is hidden, since a log record has one line."""
    monkeypatch.setenv("SSH_KEY", "-----BEGIN-----\nabcdefgh\nijklmnop\n-----END-----\n")
    assert mask("it read ijklmnop") == "it read ***"


def test_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of `user:password` is hidden on its own too."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:hunter22")
    assert mask("wrong password hunter22") == "wrong password ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ssh://me:hunter22@host/x", "ssh://me:***@host/x"),
        ("postgresql+asyncpg://me:h@host:5432/db", "postgresql+asyncpg://me:***@host:5432/db"),
        ("https://ghp_abc@github.com/x", "https://***@github.com/x"),
        ("ssh://me@host/x and http://host:80/a@b", "ssh://me@host/x and http://host:80/a@b"),
        ("https://me:p@ss@host/x", "https://me:***@host/x"),
        ("https://me:p/ss@host/x", "https://me:***@host/x"),
        ("https://me:hunter22@host:no-port/x", "https://me:***@host:no-port/x"),
        ("https://ghp_abc:x-oauth-basic@github.com/x", "https://***@github.com/x"),
        ("https://h/x?a=1&token=abc&sig=a%2Bb#access_token=c", "https://h/x?a=1&token=***&sig=***#access_token=***"),
        ("s3 https://h/x?X-Amz-Signature=ab12&X-Amz-Date=5", "s3 https://h/x?X-Amz-Signature=***&X-Amz-Date=5"),
        ("https://h/x?config=a&monkey=b&page=2", "https://h/x?config=a&monkey=b&page=2"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    """A password in a URL is hidden, whatever the source of the URL."""
    assert mask(text) == shown


def test_password_of_an_address_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of a URL in the environment is hidden on its own too."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter%2F22@host/db")
    assert mask("no entry for hunter/22") == "no entry for ***"


@pytest.mark.parametrize("name", [".dvc/config.local", "user/config", "system/config"])
def test_configuration_of_dvc(name: str, tmp_path: Path) -> None:
    """Credentials in DVC's configuration are hidden as soon as the file exists."""
    assert mask(SECRET) == SECRET
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(f"['remote \"store\"']\n    url = s3://x\n    secret_access_key = {SECRET}\n")
    assert mask(f"{SECRET} s3://x") == "*** s3://x"


def test_credentials_in_a_configuration() -> None:
    """Credentials are distinguished from other options."""
    text = (
        "['remote \"a\"']\n    url = ssh://me:hunter22@h/x\n    password = 'pw pw'\n    keyfile = /k\n    user = me\n"
    )
    assert secrets_in_config(text) == {"url": "hunter22", "password": "pw pw"}


@pytest.mark.parametrize(
    "line",
    [
        "password = hunter22",
        "Password=hunter22",
        "\tPASSWORD  =  hunter22  # for the store",
        "password = hunter22#for the store",
        "password = 'hunter22'  # in 'quotes'",
        'password = "hunter22"',
    ],
)
def test_spellings_that_dvc_reads(line: str, tmp_path: Path) -> None:
    """A credential is found in every syntax that DVC reads, without the comment after it."""
    text = f"['remote \"a\"']\n{line}\n    user = me\n"
    path = tmp_path / "config"
    path.write_text(text)
    read = {name.lower(): value for name, value in ConfigObj(str(path))['remote "a"'].items()}
    assert secrets_in_config(text) == {"password": read["password"]} == {"password": "hunter22"}


def test_log_records(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Log records of any library contain no secret, neither in their arguments nor in a traceback."""
    from flows.core.redaction import mask_logs

    monkeypatch.setenv("TOKEN", SECRET)
    before = logging.getLogRecordFactory()
    mask_logs()
    try:
        mask_logs()  # a second call has no effect
        logging.getLogger("other").warning("sent %s with %d", SECRET, 3)
        try:
            raise ValueError(f"bad {SECRET}")
        except ValueError:
            logging.getLogger("other").exception("it failed")
    finally:
        logging.setLogRecordFactory(before)
    assert SECRET not in caplog.text
    assert "sent *** with 3" in caplog.text and "ValueError: bad ***" in caplog.text


def test_masking_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pattern of secrets is not built again for each line."""
    from flows.core.redaction import _patterns

    monkeypatch.setenv("TOKEN", SECRET)
    mask("once")
    misses = _patterns.cache_info().misses
    for _ in range(100):
        mask("again")
    assert _patterns.cache_info().misses == misses


LEAKS = """
stages:
  report:
    cmd: >-
      python leak.py
    deps: [leak.py]
    outs: [reports/summary.md, reports/metrics.csv]
  fails:
    cmd: >-
      python -c "import os, sys; sys.exit('error: cannot log in with ' + os.environ['STORE_PASSWORD'])"
    deps: [leak.py]
    outs: [never]
"""
LEAK = """
import json
import os
from pathlib import Path
secret = os.environ["STORE_PASSWORD"]
print("using", secret)
print("coloured", secret[:6] + "\\x1b[0m" + secret[6:], "returned", secret[:6] + "\\r" + secret[6:])
print("epoch 1 of 2", secret)
Path("reports").mkdir(exist_ok=True)
Path("reports/summary.md").write_text(f"# Summary\\n\\nmade with {secret}\\n")
Path("reports/metrics.csv").write_text(f"model,test_accuracy\\n{secret},0.5\\n")
check = {"model": "m", "gate": "g", "status": "failed", "sentence": secret}
Path("reports/gates.json").write_text(json.dumps({"passed": False, "note": "", "checks": [check]}))
"""


@pytest.mark.server
@pytest.mark.farm
def test_no_output_of_a_run_contains_a_secret(project: Project, inkflow: Inkflow, prefect_url: str) -> None:
    """A stage prints a secret, fails with it and writes it into the summary: it is neither on the terminal nor in
    Prefect's logs, states and artifacts.
    """
    project.write({"dvc.yaml": LEAKS, "leak.py": LEAK})
    secret = "correct-horse-battery"
    first = inkflow("run", "fails", folder=project.folder, STORE_PASSWORD=secret)
    assert first.returncode == 1 and "error: fails failed (exit code 1): cannot log in with ***" in first.stderr
    records = newest_run(prefect_url, 1)
    second = inkflow("run", "report", folder=project.folder, STORE_PASSWORD=secret)
    assert second.returncode == 1 and "m, g: ***" in second.stderr
    assert "| using ***" in second.stdout and "| coloured *** returned ***" in second.stdout
    records += newest_run(prefect_url, 2)
    assert records.count("***") >= 6
    assert "made with ***" in records and "using ***" in records and "cannot log in with ***" in records
    assert secret not in first.stdout + first.stderr + second.stdout + second.stderr + records


def newest_run(url: str, tasks: int) -> str:
    """Returns the server's records of the newest flow run as JSON: run, tasks, states, logs and artifacts."""
    run = finished_run(url, tasks)
    run_filter = {"flow_runs": {"id": {"any_": [run.flow_run["id"]]}}}

    def query(kind: str, **body: object) -> list[Any]:
        records: list[Any] = api(url, "POST", f"/{kind}/filter", body)
        return records

    def logs() -> list[Any]:
        return query("logs", logs={"flow_run_id": {"any_": [run.flow_run["id"]]}})

    wait_until(lambda: len(logs()) > 1, timeout_s=60)  # Prefect sends them in batches
    return json.dumps([run.flow_run, list(run.tasks.values()), logs(), query("artifacts", **run_filter)])
