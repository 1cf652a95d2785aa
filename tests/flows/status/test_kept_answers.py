"""The answers of a server that `inkflow status` keeps: damaged ones count as none; a full disk hides no new ones."""

import json
import shutil
from typing import Any

import pytest

from flows.cli.main import main as inkflow
from flows.core.notices import note_once
from tests.conftest import Toy
from tests.flows.status.test_status import no_server
from tests.support.loopback import free_port

__all__ = ["no_server"]  # fixture


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("deployments", {"last_good": "x"}),
        ("deployments", {"last_bad": {"id": "x"}}),
        ("deployments", {"created": "yesterday"}),
        ("active", {"of": 7}),
        ("active", {"started": 7}),
        ("scheduled", {"due": "2026-11-28T00:00:00"}),
        ("pools", {"workers": 3}),
        ("pools", {"workers": [{"online": None}]}),
        ("at", "2026-11-28T00:00:00"),
        ("at", 7),
        ("", None),
    ],
)
def test_kept_answers_of_another_form(
    toy: Toy, kind: str, change: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept answers with a value of another type, or a time without its zone, count as none; good ones are shown."""
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    time = "2026-11-28T00:00:00+00:00"
    run = {"id": "i", "name": "n", "of": "inkflow/nightly", "state": "s", "message": "m", "pool": None}
    run |= {"started": time, "ended": time, "due": None}
    deployment = {"name": "inkflow/nightly", "paused": False, "scheduled": True, "created": None}
    kept: dict[str, Any] = {"at": time, "deployments": [deployment | {"last_good": run, "last_bad": None}]}
    kept |= {"active": [run], "scheduled": [run | {"due": time}]}
    kept |= {"pools": [{"name": "p", "paused": False, "workers": [{"name": "w", "online": False}]}]}
    if kind:
        kept[kind] = change if kind == "at" else [kept[kind][0] | change]
    toy.write({".inkflow/status.json": json.dumps(kept)})
    note_once.cache_clear()
    inkflow(["status", "--json"])
    out, err = capsys.readouterr()
    assert (json.loads(out)["nightly"] is None) == bool(kind)
    assert (".inkflow/status.json cannot be read" in err) == bool(kind)


@pytest.mark.server
def test_a_disk_that_takes_no_file(
    toy: Toy, prefect_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers of the server are shown where they cannot be kept, as on a disk that is full or read-only."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    toy.write({".inkflow/status.json/in-the-way": ""})
    inkflow(["status"])
    assert f"server    {prefect_url}" in capsys.readouterr().out
    shutil.rmtree(".inkflow")
    toy.write({".inkflow": "no folder"})
    inkflow(["status"])
    assert f"server    {prefect_url}" in capsys.readouterr().out
