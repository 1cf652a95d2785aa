"""Which process runs which test, and in which order."""

import random
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ONE_PROCESS = (  # modules that share what is dear to make, by the beginnings of their paths
    (  # the server of `prefect_url`, whose start takes 20 s of a slow core
        "tests/flows/core/test_redaction.py",
        "tests/flows/prefect_server/notifications/",
        "tests/flows/prefect_server/test_automations.py",
        "tests/flows/prefect_server/test_dead_runs.py",
        "tests/flows/prefect_server/test_deployments.py",
        "tests/flows/prefect_server/test_pools.py",
        "tests/flows/prefect_server/test_run_server.py",
        "tests/flows/status/",
        "tests/flows/tasks/",
        "tests/flows/test_",
        "tests/flows/workers/",
        "tests/project/test_project.py",
    ),
    ("tests/flows/prefect_server/test_closed_up", "tests/flows/prefect_server/test_up"),  # `inkflow up`
    ("tests/stages/report/",),  # a finished run, and Chromium
    ("tests/stages/runs/",),  # a project with versions, and Chromium
)
LONG = ("slow", "server", "browser")  # marks of the tests that take seconds
TRAININGS = "tests/stages/train/"  # whose tests take seconds too


class ModuleScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives whole modules to the processes: the fixtures of a module are made once. A long module begins first.

    xdist's own `loadscope` begins with the modules of many tests, which are the quick ones.
    """

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # the order of `order_tests` stays

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def share_of(nodeid: str) -> str:
    """Returns what a test shares its process with: a group of modules, or its own module."""
    module = nodeid.partition("::")[0]
    return next((group[0] for group in ONE_PROCESS if module.startswith(group)), module)


def order_tests(items: list[pytest.Item], seed: int | None) -> None:
    """Puts modules with long tests first, so that no process waits long for another one at the end.

    With a `seed` all other order is random: of the modules, and within each module that has not the mark `in_order`.
    """
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    groups = list(modules.values())
    if seed is not None:
        dice = random.Random(seed)
        dice.shuffle(groups)
        for group in groups:
            if not group[0].get_closest_marker("in_order"):
                dice.shuffle(group)
    groups.sort(key=lambda group: not any(map(_is_long, group)))
    items[:] = [item for group in groups for item in group]


def _is_long(item: pytest.Item) -> bool:
    return item.nodeid.startswith(TRAININGS) or any(item.get_closest_marker(name) for name in LONG)
