"""A server under load whose model changes all the time, and which is killed: no request is lost, no answer is wrong."""

import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from flows.cli.main import main as inkflow
from flows.registry.model_files import FOLDER
from tests.conftest import Toy, wait_until
from tests.flows.registry.test_serving import version
from tests.support.loopback import free_port
from tests.support.model_server import start_server
from tests.support.registered_reader import commit_version, reader
from tests.support.steady_load import Holders, SteadyLoad
from tests.torture.conftest import Rounds, Try
from tests.torture.support import registry_state

__all__ = ["reader"]  # the fixture

SUBJECT = "Served and registered models"
SEED = 17
CLIENTS = 4
TRUE = shutil.which("true") or "/bin/true"
KINDS = ("promotions", "rollbacks", "damages of model files")
LOAD_S, LEAST = 600, 10  # of `make torture`: the load, and how often each kind of change happens at least
START_S = 240.0  # of a server on a busy machine; the clients repeat a request so long


class Supervised:
    """`inkflow serve reader@prod`, which is started again whenever it ends, as systemd does."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder, self._stopped = folder, False
        self._lock = threading.Lock()  # of `process` and `_stopped`
        self.process = self._start()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def kill(self, chance: random.Random) -> None:
        """Kills the process that follows the stage, or the one that answers if there is one by now."""
        wait_until(lambda: self.process.poll() is None, timeout_s=60)  # it is started again after an earlier kill
        follower = psutil.Process(self.process.pid)
        answering = [one for one in follower.children() if "stages.serve" in " ".join(one.cmdline())]
        chance.choice([follower, *answering]).send_signal(signal.SIGKILL)
        follower.wait(240)

    def stop(self) -> None:
        """Ends the server."""
        with self._lock:
            self._stopped = True
            self.process.terminate()
        self._thread.join()

    def _start(self) -> "subprocess.Popen[bytes]":
        return start_server(self._folder, "flows", "serve", "reader@prod", f"--port={self.port}")

    def _watch(self) -> None:
        while True:
            self.process.wait()
            with self._lock:  # a process that starts while `stop` looks at the one before would run for ever
                if self._stopped:
                    return
                self.process = self._start()


@contextmanager
def supervised(folder: Path) -> Iterator[tuple[Supervised, httpx.Client]]:
    """Yields the server and a client of it."""
    server = Supervised(folder)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=240, trust_env=False) as client:
            wait_until(lambda: served(client) != "", timeout_s=START_S)
            yield server, client
    finally:
        server.stop()


class ShortLived(Supervised):
    """A server that ends at once, again and again."""

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([TRUE])


@pytest.mark.timeout(60)
def test_a_server_that_is_started_again_can_be_stopped(tmp_path: Path) -> None:
    """The server ends whenever it is stopped, also while it is started again."""
    for _ in range(20):
        server = ShortLived(tmp_path)
        server.stop()
        assert server.process.poll() is not None


@dataclass
class Stage:
    """The stage `prod` of the model `reader`, and what a server that follows it may answer.

    Attributes:
        client: a client of the server.
        names: what the labels of each version begin with.
        held: the versions that a rollback leads through; the last one holds the stage.
        holders: when a server may answer by which version.
    """

    client: httpx.Client
    names: dict[str, str] = field(default_factory=lambda: {"v0.0.1": "one"})
    held: list[str] = field(default_factory=lambda: ["v0.0.1"])
    holders: Holders = field(default_factory=lambda: Holders("v0.0.1"))

    def change(self, chance: random.Random) -> str:
        """Changes what the server serves and waits until it follows, or damages the files of all other versions.

        Returns:
            Which of KINDS it was; an empty text if nothing was changed.
        """
        kind = chance.choice(["new", "back", "again", "damage"]) if len(self.names) > 1 else "new"
        if kind == "new":
            name = f"model{len(self.names) + 1}"
            commit_version(name)
            self.names[f"v0.0.{len(self.names) + 1}"] = name
        newest = f"v0.0.{len(self.names)}"
        if kind == "damage":
            return "damages of model files" if damage_others(self.held[-1], chance) else ""
        if kind == "back" and len(self.held) > 1:
            self.held.pop()
            self._move("rollback", "prod")
            return "rollbacks"
        if self.held[-1] != newest:
            self.held.append(newest)
            self._move("promote", "reader", "prod")
            return "promotions"
        return ""

    def flaws(self) -> list[str]:
        """Returns where server, tags, cache and files of the registry disagree."""
        found = {"the server": version(self.client), "the last tag": registry_state.holders(Path(), "reader")["prod"]}
        wrong = [f"{where} has {name}, not {self.held[-1]}" for where, name in found.items() if name != self.held[-1]]
        return [*wrong, *registry_state.flaws(Path(), "reader")]

    def _move(self, *command: str) -> None:
        with self.holders.change(self.held[-1]):
            assert inkflow([*command]) == 0
            wait_until(lambda: version(self.client) == self.held[-1], timeout_s=START_S)


@pytest.mark.slow
@pytest.mark.farm  # `make test` has smaller parts: tests/flows/registry/test_serving.py
@pytest.mark.timeout(3600)
def test_load_with_reloads_and_kills(reader: Toy, promise: Try, rounds: Rounds) -> None:
    """Promotions, rollbacks, damaged files and kills of the server under load: each answer is right."""
    chance = random.Random(SEED)
    assert inkflow(["promote", "reader", "prod"]) == 0
    with supervised(reader.folder) as (server, client):
        stage = Stage(client)
        load = partial(SteadyLoad, client, "reader", stage.names, requests=1, clients=CLIENTS, holders=stage.holders)
        text = (
            "While the model of a server changes, every request is answered correctly by the version that holds the "
            "stage, or by the one before until the server has changed over; tags, cache and model files agree after it."
        )
        changes, seconds = Counter[str](), rounds(5, LOAD_S)
        with promise(SUBJECT, text, f"requests of {CLIENTS} clients for {seconds} s, seed {SEED}") as tried:
            with load() as steady:
                end = time.monotonic() + seconds
                while time.monotonic() < end and not steady.wrong:
                    changes[stage.change(chance)] += 1
                    wait_for_answers(steady)
            tried.count(steady.versions.total())
            tried.how += "".join(f", {changes[kind]} {kind}" for kind in KINDS)
            with tried.verdict(f"requests of seed {SEED}, {dict(steady.versions)}"):
                assert steady.wrong == []
                assert stage.flaws() == []
                assert len(steady.versions) > 1
                assert all(changes[kind] >= rounds(0, LEAST) for kind in KINDS), changes
        text = (
            "After a kill -9 of the server no answer is wrong, a request that it cut off succeeds when repeated, and "
            "tags, cache and model files agree."
        )
        how = f"kill -9 of one of the two processes at random moments, also while they start, seed {SEED}"
        with promise(SUBJECT, text, how) as tried:
            with load(repeat_s=START_S) as steady:
                for number in range(rounds(1, 8)):
                    with tried.attempt(f"kill {number} of seed {SEED}"):
                        kill(server, steady, chance)
                        assert stage.flaws() == []
            tried.how += f"; {len(steady.cut_off)} requests cut off"
            with tried.verdict("requests that a kill cut off"):
                assert steady.wrong == []
                assert len(steady.cut_off) >= rounds(0, 1)


def kill(server: Supervised, load: SteadyLoad, chance: random.Random) -> None:
    """Kills the server, sometimes again while it starts, and waits until it answers."""
    server.kill(chance)
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, 3))
        server.kill(chance)
    wait_for_answers(load)
    assert load.wrong == []


def wait_for_answers(load: SteadyLoad) -> None:
    """Waits until so many further requests are answered that most were made after this call, or one was wrong."""
    before = load.versions.total()
    wait_until(lambda: load.versions.total() > before + 50 or bool(load.wrong), timeout_s=START_S)


def damage_others(held: str, chance: random.Random) -> bool:
    """Cuts the model files of all versions but one short; returns False if there is none that is not empty."""
    others = [path for path in Path(FOLDER).glob("reader@*/model.onnx") if path.parent.name != f"reader@{held}"]
    left = [path for path in sorted(others) if path.stat().st_size]  # the damaged ones become shorter each time
    for path in left:
        path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])
    return bool(left)


def served(client: httpx.Client) -> str:
    """Returns the version that the server has; an empty text while it does not answer."""
    try:
        return version(client)
    except httpx.TransportError:
        return ""
