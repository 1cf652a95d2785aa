"""Work pools of `inkflow up`: their names and the limits that execution.yaml sets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.core.errors import PolicyInvalid
from flows.engine.policy import Policies, load_policies
from flows.prefect_server.pools import base_job_template, create_pool, pool_names, set_limits
from stages.base.errors import InvalidInput


@pytest.fixture
def client(prefect_url: str) -> Iterator[SyncPrefectClient]:
    """A client of a real server."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        yield client


@pytest.mark.server
def test_limits_of_pool_and_queues_are_set(client: SyncPrefectClient, tmp_path: Path) -> None:
    """Each start sets the limits that execution.yaml names, and creates its queues; others stay."""
    name = "limited"
    create_pool(client, tmp_path, name)
    (tmp_path / "execution.yaml").write_text(
        "pools:\n  limited:\n    limit: 3\n    queues: {urgent: {limit: 2, priority: 1}, nightly: {}}\n"
    )
    for _ in range(2):
        set_limits(client, name, load_policies(tmp_path).pools[name])
        assert client.read_work_pool(name).concurrency_limit == 3
        queues = {queue.name: queue for queue in client.read_work_queues(work_pool_name=name)}
        assert queues.keys() == {"default", "urgent", "nightly"}
        assert (queues["urgent"].concurrency_limit, queues["urgent"].priority) == (2, 1)
        client.update_work_queue(queues["nightly"].id, concurrency_limit=7)
    assert queues["nightly"].concurrency_limit == 7
    set_limits(client, name, Policies.model_validate({"pools": {name: {}}}).pools[name])
    assert client.read_work_pool(name).concurrency_limit == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pools: {gpu: {limit: 0}}", "execution.yaml: pools.gpu.limit: got 0, expected"),
        ("pools: {gpu: {limits: 2}}", "pools.gpu.limits: unknown key; did you mean 'limit'?"),
        ("pools: {gpu: {queues: {a: {limit: x}}}}", "pools.gpu.queues.a.limit: got 'x', expected"),
        ("assets: 1\nworkers: {resends: 1}", "assets: got 1, expected"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """A mistake in the limits names the key, the value and what is expected."""
    (tmp_path / "execution.yaml").write_text(text)
    with pytest.raises(PolicyInvalid) as caught:
        load_policies(tmp_path)
    assert sentence in str(caught.value)


def test_limits_of_a_pool_that_nothing_uses_are_refused(tmp_path: Path) -> None:
    """A wrong name of a pool is reported with the nearest right one; a file with limits alone is one of ours."""
    (tmp_path / "execution.yaml").write_text("pools: {gpus: {limit: 2}}")
    with pytest.raises(InvalidInput, match=r"pools\.gpus: no deployment .*; did you mean 'gpu'\? used: gpu, local"):
        pool_names(tmp_path, [{"work_pool": {"name": "gpu"}}, {"work_pool": {"name": "local"}}])


@pytest.mark.parametrize("text", ["{", "[1]", pytest.param("[" * 100_000, id="nested")])
def test_a_template_that_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    """A template that cannot be read is named in one sentence; without one, Prefect's own is used."""
    assert base_job_template(tmp_path, "docker") == {}
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers/docker.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"docker\.json is not valid JSON"):
        base_job_template(tmp_path, "docker")


@pytest.mark.parametrize("text", ["assets: true", "assets: false", "pools: {gpu: {limit: 2}}"])
def test_file_with_one_key_is_read(tmp_path: Path, text: str) -> None:
    """A file is recognised by any of its keys."""
    (tmp_path / "execution.yaml").write_text(text)
    policies = load_policies(tmp_path)
    assert (policies.assets, "gpu" in policies.pools) == (text == "assets: true", "pools" in text)
