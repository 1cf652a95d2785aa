"""What a Prefect server knows: deployments, their last runs, what runs and waits, pools and workers.

The answers are kept in `.inkflow/status.json`, so that a status without the server can say what was known last.
"""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from flows.core.notices import read_kept
from flows.core.project import make_state_folder
from flows.core.redaction import mask, mask_content
from flows.prefect_server.credentials import ADDRESS_FILE, HOME, find_password, is_running
from flows.prefect_server.environment import is_own
from flows.prefect_server.server_check import configured_url, login_options
from stages.base.digests import sealed
from stages.base.errors import InkflowError
from stages.base.files import write_text
from stages.base.shown_text import network_reason, shortened

KEPT = Path(".inkflow/status.json")
ANSWER_S = 1.5  # for the first answer to a person: a server that is away is told at once
REST_S = 20.0  # for all others: a server that answers may be busy
MAX_DEPLOYMENTS = 20
LIMIT = 200  # of Prefect, for one request
GOOD, BAD = ["COMPLETED"], ["FAILED", "CRASHED"]
ACTIVE = ["RUNNING", "PENDING", "CANCELLING", "PAUSED"]
INNER_FLOWS = ("retry-crashed", "train-stage")  # their runs belong to other runs

NIGHTLY, TAG = "inkflow/nightly", "inkflow"  # name and tag of prefect.yaml: other projects have deployments too

# The form of the kept answers, in the file of which anything may stand; a time has a zone.
TIME, TEXT = (datetime, None), (str, None)
RUN = {"id": str, "of": str, "state": str, "message": str, "started": TIME, "ended": TIME, "due": TIME, "pool": TEXT}
DEPLOYMENT = {"name": str, "paused": bool, "scheduled": bool, "created": TIME}
POOL = {"name": str, "paused": bool, "workers": [{"online": bool}]}
FORM = {
    "at": datetime, "deployments": [DEPLOYMENT | {"last_good": (RUN, None), "last_bad": (RUN, None)}],
    "active": [RUN], "scheduled": [RUN], "pools": [POOL],
}  # fmt: skip

Json = dict[str, Any]
Post = Callable[..., list[Json]]


@dataclass(frozen=True)
class ServerFacts:
    """The answers of a server.

    Attributes:
        url: its address; None if no server is configured.
        problem: why it gave no answers; empty if it did.
        at: the time of the answers, which are older than the status if there is a problem; None without answers.
        deployments: each with its name, its flow, its schedules and its last good and last bad run.
        active: runs that have started.
        scheduled: runs that are to start, the first one first.
        pools: the work pools, each with its workers.
    """

    url: str | None
    problem: str
    at: datetime | None
    deployments: list[Json]
    active: list[Json]
    scheduled: list[Json]
    pools: list[Json]


def read_server(root: Path, own_run: Json | None = None) -> ServerFacts:
    """Returns what the project's server knows now; without an answer, what it said last.

    Args:
        root: the project.
        own_run: id and final state of the flow run that asks, which the server still sees running.
    """
    url = find_url(root)
    if url is None:
        return _kept(root, None, "no server: PREFECT_API_URL is not set, `inkflow up` does not run here")
    try:
        with _client(root, url, ANSWER_S if own_run is None else REST_S) as client:
            answers = _ask(client, own_run)
    except (
        httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError, LookupError, TypeError, AttributeError,
    ) as error:  # fmt: skip
        return _kept(root, url, f"{mask(url)} gives no answer ({_reason(error)})")
    at = datetime.now(UTC)
    with suppress(OSError, InkflowError):  # a disk that is full or read-only, which the status is to tell
        make_state_folder(root)
        write_text(root / KEPT, json.dumps(sealed(mask_content(answers | {"at": at.isoformat()}))))
    return ServerFacts(url, "", at, **answers)


def _reason(error: Exception) -> str:
    """Returns the reason of a failed request on one line: of a refusal (403) what the server says."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.FORBIDDEN:
        return f"status 403: {shortened(' '.join(mask(error.response.text).split()))}"
    return mask(" ".join(network_reason(error).split("\n")[0].split()))


def find_url(root: Path) -> str | None:
    """Returns the address of the configured server, or else of the `inkflow up` that runs in this folder."""
    if url := configured_url():
        return url
    with suppress(OSError, UnicodeDecodeError):
        address = (root / HOME / ADDRESS_FILE).read_text(encoding="utf-8").strip()
        return address if is_running(root) else None
    return None


def _client(root: Path, url: str, timeout_s: float) -> httpx.Client:
    options = login_options(url)
    password = find_password(root, url)
    if password and "auth" not in options:
        name, _, secret = password.partition(":")
        options["auth"] = (name, secret)
    return httpx.Client(base_url=url, timeout=timeout_s, trust_env=not is_own(url), **options)


def _kept(root: Path, url: str | None, problem: str) -> ServerFacts:
    """Returns the last answers, with the problem."""
    empty: dict[str, list[Json]] = {"deployments": [], "active": [], "scheduled": [], "pools": []}
    kept = read_kept(root / KEPT, "what the server said last is not known", _checked)
    at = datetime.fromisoformat(kept["at"]) if kept else None
    return ServerFacts(url, problem, at, **{kind: (kept or empty)[kind] for kind in empty})


def _checked(content: Json) -> Json:
    """Returns the answers.

    Raises:
        ValueError: they have another form than FORM.
    """
    if not _has_form(content, FORM):
        raise ValueError("it has another form")
    return content


def _has_form(value: Any, form: Any) -> bool:
    """Returns True if a JSON value is of a form: a type, None, or dicts, lists and choices (tuples) of forms.

    Raises:
        ValueError: a text is no time.
    """
    if isinstance(form, dict):
        parts = isinstance(value, dict) and value.keys() >= form.keys()
        return parts and all(_has_form(value[key], part) for key, part in form.items())
    if isinstance(form, list):
        return isinstance(value, list) and all(_has_form(item, form[0]) for item in value)
    if isinstance(form, tuple):
        return any(_has_form(value, part) for part in form)
    if form is datetime:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    return value is None if form is None else isinstance(value, form)


def _ask(client: httpx.Client, own_run: Json | None) -> dict[str, list[Json]]:
    deadline = time.monotonic() + REST_S

    def post(path: str, **content: Any) -> list[Json]:
        response = client.post(path, json=content).raise_for_status()
        client.timeout = httpx.Timeout(max(0.1, deadline - time.monotonic()))
        return [item for item in response.json() if isinstance(item, dict)]

    def runs(states: list[str], sort: str, limit: int, deployment: str | None = None) -> list[Json]:
        scope = {"deployments": {"id": {"any_": [deployment]}}} if deployment else {}
        wanted = {"state": {"type": {"any_": states}}}
        return post("/flow_runs/filter", flow_runs=wanted, sort=sort, limit=limit, **scope)

    deployments = _find_deployments(post)
    active = runs(ACTIVE, "START_TIME_ASC", 50)
    scheduled = runs(["SCHEDULED"], "NEXT_SCHEDULED_START_TIME_ASC", LIMIT)
    others = {run.get("deployment_id") for run in [*active, *scheduled]} - {item["id"] for item in deployments}
    deployments += _by_id(post, "deployments", others)
    used = {item.get("flow_id") for item in [*deployments, *active, *scheduled]}
    flows = {item["id"]: item["name"] for item in _by_id(post, "flows", used)}
    names = {item["id"]: f"{flows.get(item['flow_id'], '?')}/{item['name']}" for item in deployments}

    def last_run(states: list[str], deployment: str) -> Json | None:
        return next((_run(item, names, flows) for item in runs(states, "END_TIME_DESC", 1, deployment)), None)

    shown = []
    outer = [item for item in deployments if flows.get(item["flow_id"]) not in INNER_FLOWS]
    outer.sort(key=lambda item: (names[item["id"]] != NIGHTLY, TAG not in (item.get("tags") or ())))
    for item in outer[:MAX_DEPLOYMENTS]:
        last = {kind: last_run(states, item["id"]) for kind, states in _KINDS}
        shown.append(_deployment(item, names[item["id"]], last))
    started, due = ([_run(item, names, flows) for item in items] for items in (active, scheduled))
    _end_own(own_run, started, shown)
    pools = [_pool(pool, post(f"/work_pools/{pool['name']}/workers/filter")) for pool in post("/work_pools/filter")]
    return {"deployments": shown, "active": started, "scheduled": due, "pools": pools}


_KINDS = (("last_good", GOOD), ("last_bad", BAD))


def _find_deployments(post: Post) -> list[Json]:
    """Returns the deployment NIGHTLY, those with TAG, and a page of others: a server may have thousands."""
    flow, _, name = NIGHTLY.partition("/")
    filters: list[Json] = [
        {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}},
        {"deployments": {"tags": {"all_": [TAG]}}},
        {},
    ]
    found = [item for wanted in filters for item in post("/deployments/filter", limit=LIMIT, sort="NAME_ASC", **wanted)]
    return list({item["id"]: item for item in found}.values())


def _by_id(post: Post, kind: str, identifiers: Iterable[str | None]) -> list[Json]:
    """Returns the objects of a kind, such as `flows`, with these ids."""
    wanted = sorted(filter(None, identifiers))
    parts = [wanted[start : start + LIMIT] for start in range(0, len(wanted), LIMIT)]
    return [item for part in parts for item in post(f"/{kind}/filter", limit=LIMIT, **{kind: {"id": {"any_": part}}})]


def _run(item: Json, names: Json, flows: Json) -> Json:
    """Returns what a status shows of a flow run."""
    state = item.get("state") or {}
    deployment = item.get("deployment_id")
    return {
        "id": item["id"],
        "name": item["name"],
        "of": names.get(str(deployment)) or f"{flows.get(str(item.get('flow_id')), '?')}/{item['name']}",
        "state": str(state.get("name") or state.get("type") or "unknown"),
        "message": mask(" ".join(str(state.get("message") or "").split())),
        "started": item.get("start_time"),
        "ended": item.get("end_time"),
        "due": item.get("next_scheduled_start_time") or item.get("expected_start_time"),
        "pool": item.get("work_pool_name"),
    }


def _pool(item: Json, workers: list[Json]) -> Json:
    found = [
        {"name": worker["name"], "online": worker.get("status") == "ONLINE", "seen": worker.get("last_heartbeat_time")}
        for worker in workers
    ]
    return {"name": item["name"], "paused": bool(item.get("is_paused")), "type": item.get("type"), "workers": found}


def _deployment(item: Json, name: str, last: Json) -> Json:
    schedules = [entry for entry in item.get("schedules") or [] if entry.get("active")]
    return {
        "name": name,
        "paused": bool(item.get("paused")),
        "scheduled": bool(schedules),
        "created": item.get("created"),
        "pool": item.get("work_pool_name"),
        **last,
    }


def _end_own(own: Json | None, active: list[Json], deployments: list[Json]) -> None:
    """Moves the run that asks from the active ones to the last ones of its deployment, with its final state."""
    for run in [run for run in active if own and run["id"] == own["id"]]:
        assert own is not None
        active.remove(run)
        ended = run | {"state": own["state"], "message": own["message"], "ended": datetime.now(UTC).isoformat()}
        kind = "last_good" if own["type"] in GOOD else "last_bad" if own["type"] in BAD else None
        for item in deployments:
            if kind and item["name"] == run["of"]:
                item[kind] = ended
