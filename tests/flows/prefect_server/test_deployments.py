"""What `inkflow up` writes for `prefect deploy`: the schedules that a person has set stay."""

import json
from pathlib import Path

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.core.notices import note_once
from flows.prefect_server.deployments import DEPLOYED, finish_deployments, run_commands, write_deployments

ENTRIES = """deployments:
- {name: nightly, entrypoint: 'one.py:one', schedules: [{cron: '0 1 * * *'}]}
- {name: nightly, entrypoint: 'two.py:two', schedules: [{cron: '0 2 * * *'}]}
"""


@pytest.mark.server
def test_two_flows_have_deployments_of_the_same_name(
    prefect_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The schedules of each stay as they are on the server, until prefect.yaml has others for this one."""
    (tmp_path / "prefect.yaml").write_text(ENTRIES)
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        for name in ("one", "two"):
            flow = client.create_flow_from_name(f"deployed {name}")
            client.create_deployment(flow, "nightly", entrypoint=f"{name}.py:{name}")

        def schedules() -> list[object]:
            written = json.loads(write_deployments(client, tmp_path, tmp_path / "home").read_text())
            return [entry["schedules"] for entry in written["deployments"]]

        assert schedules() == [None, None]  # None: Prefect leaves them as they are
        finish_deployments(client, tmp_path, tmp_path / "home")
        assert schedules() == [None, None]
        (tmp_path / "prefect.yaml").write_text(ENTRIES.replace("0 1", "0 3"))
        assert schedules() == [[{"cron": "0 3 * * *"}], None]
        note_once.cache_clear()
        deployed = tmp_path / "home" / DEPLOYED
        deployed.write_text(deployed.read_text().replace("0 1", "0 4"))  # a damaged file is named, and not used
        assert schedules() == [None, None]
        assert f"{deployed} cannot be read (" in capsys.readouterr().err
        # The file of an earlier version has the names alone.
        (tmp_path / "home" / DEPLOYED).write_text(json.dumps({"nightly": [None, [{"cron": "0 3 * * *"}]]}))
        assert schedules() == [None, [{"cron": "0 2 * * *"}]]


@pytest.mark.server
@pytest.mark.parametrize(
    ("more", "comment"),
    [
        ("schedules: [{cron: '*/15 * * * *', timezone: Europe/Berlin}]", "schedule */15 * * * * Europe/Berlin"),
        ("schedules: [{cron: '0 2 * * *', active: false}, {cron: '0 4 * * *'}]", "schedule 0 4 * * *"),
        ("schedule: {cron: '0 5 * * *'}", "schedule 0 5 * * *"),
        ("schedules: [{interval: 600}]", ""),
        ("parameters: {}", ""),
    ],
)
def test_the_first_deployment_is_the_example(prefect_url: str, tmp_path: Path, more: str, comment: str) -> None:
    """The command that starts a run names a deployment that there is, and its schedule only if it has one."""
    entries = (
        f"deployments:\n- {{name: every hour, entrypoint: 'b.py:b', {more}}}\n- {{name: a, entrypoint: 'a.py:a'}}\n"
    )
    (tmp_path / "prefect.yaml").write_text(entries)
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("of the example")
        client.create_deployment(flow, "every hour", entrypoint="b.py:b")
        first, second = run_commands(client, tmp_path)
        assert first.startswith("  prefect deployment run 'of the example/every hour' --watch")
        assert first.partition("#")[2] == (f" now instead of by its {comment}" if comment else "")
        assert second.startswith("  inkflow run  ")
        (tmp_path / "prefect.yaml").write_text(entries.replace("b.py", "c.py"))  # it is not deployed
        assert [line.split("#")[0].strip() for line in run_commands(client, tmp_path)] == ["inkflow run"]
