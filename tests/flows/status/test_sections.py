"""The sections of the status from what a server said: what needs a person, and what a screen shows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.status.parts import MAX_AGE, Need, Section, Status
from flows.status.server import ServerFacts
from flows.status.server_sections import (
    failed_section,
    next_section,
    nightly_section,
    runs_section,
    server_section,
    workers_section,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def run(hours_ago: float, state: str = "Completed", of: str = "inkflow/nightly", **facts: Any) -> dict[str, Any]:
    """Returns a flow run that ended, started and was due so long ago."""
    at = (NOW - timedelta(hours=hours_ago)).isoformat()
    known = {"id": "an-id", "name": "a-run", "of": of, "state": state, "message": "why", "pool": "local"}
    return known | {"started": at, "ended": at, "due": at} | facts


def deployment(good: Any = None, bad: Any = None, name: str = "inkflow/nightly", **facts: Any) -> dict[str, Any]:
    """Returns a scheduled deployment that was created ten days ago."""
    created = (NOW - timedelta(days=10)).isoformat()
    known = {"name": name, "paused": False, "scheduled": True, "created": created, "pool": "local"}
    return known | {"last_good": good, "last_bad": bad} | facts


def facts(**answers: Any) -> ServerFacts:
    """Returns the answers of a server, empty ones for what is not given."""
    empty: dict[str, Any] = {"deployments": [], "active": [], "scheduled": [], "pools": []}
    return ServerFacts(**{"url": "http://h/api", "problem": "", "at": NOW, **empty, **answers})


@pytest.mark.parametrize(
    ("item", "need"),
    [
        (deployment(run(10)), None),
        (deployment(run(10), run(20, "Failed")), None),
        (deployment(run(20), run(10, "Failed")), "inkflow/nightly failed 10 h ago: why"),
        (deployment(None, run(10, "Gave up")), "inkflow/nightly gave up 10 h ago: why"),
        (deployment(run(100)), "inkflow/nightly has had no good run for 4 d"),
        (deployment(run(100), paused=True), None),
        (deployment(run(100), scheduled=False), None),
        (deployment(), "inkflow/nightly has had no good run for 10 d"),
        (deployment(created=NOW.isoformat()), None),
    ],
)
def test_the_nightly_run(item: dict[str, Any], need: str | None) -> None:
    """A nightly needs a person if its last run failed, or if the last good one is too old for its schedule."""
    section = nightly_section(facts(deployments=[item]), NOW, MAX_AGE)
    assert [found.what for found in section.needs] == ([need] if need else [])
    assert section.lines[0].startswith("last good " if item["last_good"] else "no good run yet")


def test_other_deployments_that_failed() -> None:
    """Each deployment whose last run failed is named, with what to do."""
    bad = deployment(run(5), run(1, "Crashed"), "watch-data/watch-data")
    section = failed_section(facts(deployments=[deployment(None, run(1, "Failed")), bad]), NOW)
    assert [need.what for need in section.needs] == ["watch-data/watch-data crashed 60 min ago: why"]
    assert "prefect flow-run logs an-id" in section.needs[0].do


def test_the_nightly_of_another_project() -> None:
    """On a shared server the nightly is that of this pipeline; one of another flow is a deployment like the others."""
    other = deployment(None, run(1, "Failed"), "inkflow-of-others/nightly")
    server = facts(deployments=[other, deployment(run(10))])
    assert nightly_section(server, NOW, MAX_AGE).needs == ()
    assert [need.what for need in failed_section(server, NOW).needs] == [
        "inkflow-of-others/nightly failed 60 min ago: why"
    ]
    assert nightly_section(facts(deployments=[other]), NOW, MAX_AGE).facts is None


def test_a_pool_whose_runs_wait() -> None:
    """A pool needs a worker if a run waits in it, and not before; a paused one has to be resumed."""
    worker = {"name": "w", "online": False, "seen": None}
    pools = [
        {"name": "gpu", "paused": False, "type": "process", "workers": [worker]},
        {"name": "local", "paused": True, "type": "process", "workers": [worker | {"online": True}]},
        {"name": "idle", "paused": False, "type": "process", "workers": []},
    ]
    late = [run(1, "Late", pool="gpu"), run(0.1, "Scheduled", pool="local"), run(-1, "Scheduled", pool="idle")]
    section = workers_section(facts(pools=pools, scheduled=late), NOW)
    assert [need.what for need in section.needs] == [
        "1 run waits in the pool gpu, which has no worker online",
        "1 run waits in the pool local, which is paused",
    ]
    assert section.lines == ("gpu: none online, 1 waiting; local: 1 online, paused, 1 waiting; idle: none online",)
    assert workers_section(facts(), NOW).lines == ()


def test_runs_and_the_next_ones() -> None:
    """What runs, what waits since its time has come, and for each deployment the next run."""
    later = [run(-2, "Scheduled"), run(-1, "Scheduled", "watch-data/watch-data"), run(-26, "Scheduled")]
    server = facts(active=[run(3, "Running")], scheduled=[run(1, "Late"), *later])
    assert runs_section(server, ["process 7 writes cnn"], NOW).lines == (
        "1 running, 1 waiting",
        "inkflow/nightly running, started 3 h ago",
        "inkflow/nightly waits (Late), due 60 min ago",
    )
    assert runs_section(facts(), ["process 7 writes cnn"], NOW).lines[1:] == ("process 7 writes cnn",)
    assert next_section(server, NOW).lines == ("nightly in 2 h; watch-data in 60 min",)


def test_a_server_that_is_away() -> None:
    """The problem is a need, with the age of what is known; without a configured server it is none."""
    away = facts(problem="http://h/api gives no answer (refused)", at=NOW - timedelta(hours=5))
    section = server_section(away, NOW)
    assert section.lines[1] == "what it said 5 h ago is shown" and len(section.needs) == 1
    pools = [{"name": "gpu", "paused": False, "type": "process", "workers": []}]
    old = facts(problem="away", at=NOW - timedelta(hours=5), pools=pools, scheduled=[run(1, "Late", pool="gpu")])
    assert workers_section(old, NOW) == Section(
        "workers", ("5 h ago: gpu: none online, 1 waiting",), workers_section(old, NOW).facts
    )
    assert runs_section(old, [], NOW).lines[0] == "5 h ago: 0 running, 1 waiting"
    none = facts(url=None, problem="no Prefect server is configured", at=None)
    assert server_section(none, NOW).needs == () and nightly_section(none, NOW, MAX_AGE).facts is None


def test_it_fits_a_screen() -> None:
    """However much there is, the text has at most 24 lines of 80 columns, every subject, and the needs first."""
    sections = [
        Section(f"key{number}", tuple("x" * 200 for _ in range(30)), {}, tuple(Need("w" * 200, "d") for _ in range(5)))
        for number in range(12)
    ]
    status = Status(NOW, tuple(sections))
    lines = status.as_lines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert lines[0].startswith("! www") and "and 55 more" in lines[10]
    assert [line.split()[0] for line in lines[11:] if line.startswith("key")] == [section.key for section in sections]
    assert Status(NOW, ()).as_lines() == ["nothing needs a person"]


def test_markdown_is_escaped() -> None:
    """A message of a run is one line of the list on Prefect's page, and brings no markup into it."""
    status = Status(NOW, (Section("runs", ("a | b <img src=x>\nc",), {}, (Need("n <b>", "d"),)),))
    text = status.as_markdown()
    assert "- **runs**: a \\| b &lt;img src=x&gt; c" in text and "**n &lt;b&gt;**" in text


def test_a_long_password_is_masked_before_lines_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is cut within a password shows no part of it."""
    monkeypatch.setenv("PREFECT_API_URL", f"http://me:{'hunter22' * 20}@127.0.0.1:9/api")
    address = f"http://me:{'hunter22' * 20}@127.0.0.1:9/api cannot be used"
    lines = Status(NOW, (Section("server", (address,), {}, (Need(address, "d"),)),)).as_lines()
    assert lines[0] == "! http://me:***@127.0.0.1:9/api cannot be used" and "hunter22" not in "\n".join(lines)
