"""Which orchestrators share the run of a stage in a pool, with a real Prefect server and no worker."""

import threading
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.dvc_repo.repository import Repository
from flows.engine.policy import Workers
from tests.conftest import Toy
from tests.flows.workers.faulty_proxy import FaultyProxy
from tests.flows.workers.test_dispatch import client, create_pool, dispatched, runs_of

__all__ = ["client"]


@pytest.mark.server
def test_a_run_is_shared_within_a_remote(prefect_url: str, client: SyncPrefectClient) -> None:
    """The same stage with the same inputs has one run for all orchestrators of a DVC remote: others lack its result."""
    pool = create_pool(client)
    with (
        FaultyProxy(prefect_url).running() as proxy,
        dispatched(proxy, pool, Workers(), "a", "key") as first,
    ):
        first.wait_until_sent()
        with (
            dispatched(proxy, pool, Workers(), "b", "key") as other,
            dispatched(proxy, pool, Workers(), "a", "key") as same,
        ):
            other.wait_until_sent()
            same.wait_until_sent()
            assert first.messages == other.messages == [f"sent to the pool {pool}"]
            assert same.messages == [f"another run has already sent it to the pool {pool}"]
        orders = [run.parameters["order"] for run in runs_of(client, pool)]
    assert len(orders) == 2 and not any("remote" in order for order in orders)


@pytest.mark.parametrize(
    ("config", "is_same"),
    [
        ("url = s3://bucket/a\n    endpointurl = http://one", True),
        ("url = s3://bucket/a\n    endpointurl = http://one\n    access_key_id = me\n    region = eu", True),
        ("url = s3://me:word@bucket/a\n    endpointurl = http://one", True),
        ("url = s3://bucket/b\n    endpointurl = http://one", False),
        ("url = s3://bucket/a\n    endpointurl = http://two", False),
        ('url = "/a/folder#1"', False),
    ],
)
def test_the_digest_of_a_remote(toy: Toy, config: str, *, is_same: bool) -> None:
    """It depends on where the default remote is, and not on who uses it or on the remote's name."""

    def digest(name: str, settings: str) -> str:
        toy.write({"dvc.yaml": "stages: {}\n"})
        toy.write({".dvc/config": f"[core]\n    remote = {name}\n['remote \"{name}\"']\n    {settings}\n"})
        with Repository(Path()) as repository:
            return repository.transfer(1.0, threading.Event()).remote_digest

    first = digest("r", "url = s3://bucket/a\n    endpointurl = http://one")
    assert (digest("other", config) == first) is is_same
    assert digest("r", 'url = "/a/folder#1"') != digest("r", 'url = "/a/folder#2"')
