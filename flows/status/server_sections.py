"""Sections from what the Prefect server knows: the nightly run, other deployments, runs, workers, schedules."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from flows.engine.display.styles import rough_duration
from flows.status.parts import Need, Section, age, cut, parse_time
from flows.status.server import NIGHTLY, Json, ServerFacts

MAX_REASON = 160  # characters of a failed run's message in a need
MAX_NEXT = 3
WAITING_NAMES = ("AwaitingConcurrencySlot", "Late", "AwaitingRetry")


def server_section(server: ServerFacts, now: datetime) -> Section:
    """Where the facts about runs come from; a server that is away is told with the age of what is known."""
    facts = {"url": server.url, "problem": server.problem or None, "as_of": server.at and server.at.isoformat()}
    if not server.problem:
        return Section("server", (str(server.url),), facts)
    lines = (server.problem, *([f"what it said {age(server.at, now)} is shown"] if server.at else []))
    needs = (Need(server.problem, "start it (`inkflow up`), or correct PREFECT_API_URL"),) if server.url else ()
    return Section("server", lines, facts, needs)


def nightly_section(server: ServerFacts, now: datetime, max_age: timedelta) -> Section:
    """The last good and the last failed run of the deployment `inkflow/nightly`."""
    found = [item for item in server.deployments if item["name"] == NIGHTLY]
    if not found:
        reason = "not known without the server" if server.problem else "not deployed: `inkflow up` deploys it"
        return Section("nightly", (reason,), None)
    item = found[0]
    good, bad = item["last_good"], item["last_bad"]
    lines = [f"last good {_when(good, now)}" if good else "no good run yet"]
    if bad:
        lines.append(f"last {bad['state'].lower()} {_when(bad, now)}: {bad['message']}")
    needs = list(_failure_needs(item, now))
    born = parse_time(good["ended"]) if good else parse_time(item["created"])
    if not needs and item["scheduled"] and not item["paused"] and born and now - born > max_age:
        what = f"{item['name']} has had no good run for {rough_duration((now - born).total_seconds())}"
        needs.append(
            Need(what, f"`prefect deployment run {item['name']} --watch`, and look for what keeps it from running")
        )
    facts = {"deployment": item["name"], "paused": item["paused"], "last_good": good, "last_failed": bad}
    return Section("nightly", tuple(lines), facts, tuple(needs))


def failed_section(server: ServerFacts, now: datetime) -> Section:
    """The other deployments whose last run failed."""
    failed = [item for item in server.deployments if item["name"] != NIGHTLY and any(_failure_needs(item, now))]
    lines = tuple(f"{item['name']} {_when(item['last_bad'], now)}: {item['last_bad']['message']}" for item in failed)
    facts = [{"deployment": item["name"], "last_failed": item["last_bad"]} for item in failed]
    needs = tuple(need for item in failed for need in _failure_needs(item, now))
    return Section("failed", lines, facts, needs)


def _failure_needs(item: Json, now: datetime) -> Sequence[Need]:
    """Returns a need if the last run of a deployment is no good one."""
    good, bad = item["last_good"], item["last_bad"]
    if not bad or (good and str(good["ended"]) >= str(bad["ended"])):
        return ()
    what = f"{item['name']} {bad['state'].lower()} {_when(bad, now)}: {cut(bad['message'], MAX_REASON)}"
    return (Need(what, f"`prefect flow-run logs {bad['id']}`; then repair"),)  # fits a line


def runs_section(server: ServerFacts, local: Sequence[str], now: datetime) -> Section:
    """What runs and what waits: on the server, and in this folder without it."""
    waiting = _waiting(server, now)
    lines = [f"{run['of']} {run['state'].lower()}{_since(run, now)}" for run in server.active]
    lines += [f"{run['of']} waits ({run['state']}), due {age(parse_time(run['due']), now)}" for run in waiting]
    lines += [] if server.active and not server.problem else local  # else they are the server's
    head = f"{_as_of(server, now)}{len(server.active)} running, {len(waiting)} waiting"
    head = head if server.at else "not known without the server"
    if not server.active and not waiting and local:
        head = f"{len(local)} without the server"
    facts = {"running": server.active, "waiting": waiting, "local": list(local)}
    return Section("runs", (head, *lines), facts)


def workers_section(server: ServerFacts, now: datetime) -> Section:
    """The workers of each pool; a pool in which runs wait needs one."""
    waiting = [run["pool"] for run in _waiting(server, now) if run["pool"]]
    lines, needs, facts = [], [], []
    for pool in server.pools:
        name, online = pool["name"], [worker for worker in pool["workers"] if worker["online"]]
        count = waiting.count(name)
        state = f"{len(online)} online" if online else "none online"
        lines.append(f"{name}: {state}{', paused' if pool['paused'] else ''}{f', {count} waiting' if count else ''}")
        facts.append({"pool": name, "online": len(online), "paused": pool["paused"], "waiting": count})
        if count and (pool["paused"] or not online):
            what = f"{count} run{'s wait' if count > 1 else ' waits'} in the pool {name}, which {_lack(pool['paused'])}"
            do = f"resume it: `prefect work-pool resume {name}`" if pool["paused"] else (
                f"start one: `inkflow up`, or `prefect worker start --pool {name}`"
            )  # fmt: skip
            needs.append(Need(what, do))
    summary = (_as_of(server, now) + "; ".join(lines),) if lines else ()
    return Section("workers", summary, facts, () if server.problem else tuple(needs))


def next_section(server: ServerFacts, now: datetime) -> Section:
    """The next scheduled run of each deployment."""
    first: dict[str, Any] = {}
    for run in server.scheduled:
        due = parse_time(run["due"])
        if due and due > now:
            first.setdefault(run["of"], due)
    lines = [f"{name.rpartition('/')[2]} {age(due, now)}" for name, due in first.items()]
    more = f"; {len(lines) - MAX_NEXT} more" if len(lines) > MAX_NEXT else ""
    facts = [{"deployment": name, "at": due.isoformat(timespec="seconds")} for name, due in first.items()]
    summary = (_as_of(server, now) + "; ".join(lines[:MAX_NEXT]) + more,) if lines else ()
    return Section("next", summary, facts)


def _waiting(server: ServerFacts, now: datetime) -> list[Json]:
    """Returns the scheduled runs whose time has come."""
    return [
        run
        for run in server.scheduled
        if run["state"] in WAITING_NAMES or ((due := parse_time(run["due"])) is not None and due <= now)
    ]


def _when(run: Json, now: datetime) -> str:
    return age(parse_time(run["ended"]), now)


def _as_of(server: ServerFacts, now: datetime) -> str:
    """Returns since when a line is known, for a server that is away."""
    return f"{age(server.at, now)}: " if server.problem and server.at else ""


def _since(run: Json, now: datetime) -> str:
    started = parse_time(run["started"])
    return f", started {age(started, now)}" if started else ""


def _lack(paused: bool) -> str:
    return "is paused" if paused else "has no worker online"
