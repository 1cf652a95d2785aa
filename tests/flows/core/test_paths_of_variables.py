"""Variables with paths: `~` and spaces around them, where no shell has replaced them, as in the file of a service."""

import os
from pathlib import Path

import pytest

from flows.core.project import MIRROR, enter_project
from flows.prefect_server.server_check import configured_url
from flows.workers.code_checkout import HOME_VARIABLE, worker_home


@pytest.mark.parametrize(
    ("named", "taken"),
    [
        ("m", "{project}/below/m"),
        ("~/m", "{home}/m"),
        (" ~/m ", "{home}/m"),
        (" /m", "/m"),
        ("~no-such-user/m", "{project}/below/~no-such-user/m"),
        ("https://host/m", "https://host/m"),
    ],
)
def test_folder_of_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, taken: str) -> None:
    """To stages, which may run in other folders, a mirror is an absolute path or a URL."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("INKFLOW_PROJECT", "")
    monkeypatch.setenv("HOME", "/h/me")
    monkeypatch.setenv(MIRROR, named)
    enter_project()
    assert os.environ[MIRROR] == taken.format(project=tmp_path, home="/h/me")


def test_folder_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of workers may be below the person's home."""
    monkeypatch.setenv("HOME", "/h/me")
    for named, taken in (("~/w", "/h/me/w"), ("/w", "/w"), ("", "/h/me/.inkflow/worker")):
        monkeypatch.setenv(HOME_VARIABLE, named)
        assert worker_home() == Path(taken)


def test_profiles_of_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The active profile is read from the folder from which Prefect itself reads it."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p/profiles.toml").write_text('active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://host/api"\n')
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_PROFILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", "~/p")
    assert configured_url() == "http://host/api"
