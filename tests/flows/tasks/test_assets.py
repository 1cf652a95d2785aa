"""Assets: Prefect gets an event, with hash and lineage, for each output that a run made."""

import subprocess
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.tasks.assets import EVENT, MAX_RELATED, asset_key
from tests.conftest import DIAMOND, Inkflow, Toy, wait_until
from tests.support.prefect_api import api

WIDE = 130  # more dependencies than an event of Prefect can have related resources


def events(url: str, name: str) -> list[dict[str, Any]]:
    """Returns the events of the asset `name` of a project called `lineage`, oldest first."""
    wanted = {"resource": {"id": [f"dvc://lineage/{name}"]}, "event": {"name": [EVENT]}, "order": "ASC"}
    return list(api(url, "POST", "/events/filter", {"filter": wanted})["events"])


def upstream(event: dict[str, Any]) -> list[str]:
    """Returns the assets of which an asset was made."""
    related = event["related"]
    return [item["prefect.resource.id"] for item in related if item["prefect.resource.role"] == "asset"]


@pytest.mark.server
@pytest.mark.farm
def test_output_of_a_run_is_an_asset_with_lineage(inkflow: Inkflow, prefect_url: str, toy: Toy) -> None:
    """An event has DVC's hash and size of the output, the assets of which it was made, and the run; none is repeated.

    The key has the name of the project's origin, so that all clones share it. Without `assets`, no event is sent, and
    neither for a stage that did not run. Prefect refuses an event with more than 100 related resources: a stage with
    more dependencies has an event with the first ones, and the number of the others.
    """
    wide = [f"w{number}" for number in range(WIDE)]
    reads = f"  wide: {{cmd: touch wide, deps: [{', '.join(wide)}], outs: [wide]}}\n"
    toy.write({"dvc.yaml": DIAMOND + reads, "params.yaml": "knobs: {speed: 1}\n", "in": "one\n"})
    toy.write(dict.fromkeys(wide, "x"))
    origin = ["git", "remote", "add", "origin", "https://git.example/team/lineage.git"]
    subprocess.run(origin, cwd=toy.folder, check=True)
    assert inkflow("run", "source", folder=toy.folder).returncode == 0
    toy.write({"execution.yaml": "assets: true\n"})
    done = inkflow("run", folder=toy.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: bool(events(prefect_url, "joined") and events(prefect_url, "wide")), timeout_s=60)
    [joined] = events(prefect_url, "joined")
    recorded = YAML(typ="safe").load(toy.read("dvc.lock"))["stages"]["join"]["outs"][0]
    assert (joined["payload"]["hash"], joined["payload"]["size"]) == (recorded["md5"], recorded["size"])
    assert upstream(joined) == ["dvc://lineage/left", "dvc://lineage/right"]
    assert {"flow-run", "task-run"} <= {item["prefect.resource.role"] for item in joined["related"]}
    [broad] = events(prefect_url, "wide")
    assert upstream(broad) == [f"dvc://lineage/{name}" for name in wide[:MAX_RELATED]]
    assert broad["payload"]["not_listed"] == WIDE - MAX_RELATED
    assert events(prefect_url, "out") == []


def test_keys_are_those_that_prefect_accepts(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any path gives a key that Prefect's own `Asset` takes; a secret in the URL of a file elsewhere is hidden."""
    from prefect.assets import Asset

    monkeypatch.setenv("STORE_TOKEN", "hunter2-hunter2")
    paths = ["a b[c]{d}|e%f&g?h#i\"j'k.csv", "ä/ö.csv", "x" * 600, "s3://bucket/hunter2-hunter2/x.csv", "../out.csv"]
    keys = [asset_key(path) for path in paths]
    assert [Asset(key=key).key for key in keys] == keys
    assert keys[0] == f"dvc://{toy.folder.name}/a_b_c__d__e_f_g_h_i_j_k.csv"
    assert keys[3].startswith("s3://bucket/")
    assert "hunter2" not in keys[3]
