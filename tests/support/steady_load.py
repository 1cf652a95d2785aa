"""Clients that ask a server all the time while the model that it serves changes."""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.stages.serve.test_serve import tensor

REQUESTS, CLIENTS = 2000, 8  # of a thorough test; a quick one asks less often


@dataclass
class Period:
    """The time in which a server may answer by a version, in seconds of the monotonic clock."""

    version: str
    since: float = field(default_factory=time.monotonic)
    until: float = math.inf


class Holders:
    """The versions that held a stage, each until the server was seen to have the next one."""

    def __init__(self, version: str) -> None:
        """Begins with the version that holds the stage now."""
        self._periods = [Period(version)]

    @contextmanager
    def change(self, version: str) -> Iterator[None]:
        """Gives the stage to `version` in the body, which waits until the server has it."""
        before = self._periods[-1]
        self._periods.append(Period(version))
        yield
        before.until = time.monotonic()

    def may_answer(self, version: str, since: float) -> bool:
        """Returns True if a server may have answered a request, made at `since` and answered now, by `version`."""
        return any(period.version == version and since <= period.until for period in self._periods)


class SteadyLoad:
    """Clients that ask until there were enough requests and `enough` is set; counts versions, and notes mistakes."""

    def __init__(
        self,
        client: httpx.Client,
        model: str,
        marks: Mapping[str, str],
        *,
        requests: int = REQUESTS,
        clients: int = CLIENTS,
        repeat_s: float = 0.0,
        holders: Holders | None = None,
    ) -> None:
        """Creates the clients.

        Args:
            client: a client of the server.
            model: the model's name.
            marks: what the labels of each version begin with; empty for a version whose labels are not compared.
            requests: how many they make at least.
            clients: their number.
            repeat_s: how long they repeat a request that the server's death cut off; 0 if that is a mistake.
            holders: the versions that may answer; without it, all of `marks`.
        """
        self._requests, self._repeat_s, self._holders = requests, repeat_s, holders
        self._url, self._path, self._marks = client.base_url, f"/v2/models/{model}/infer", marks
        self.enough = threading.Event()
        self.versions: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.cut_off: list[str] = []  # requests that had reached a server when it ended
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "SteadyLoad":
        """Starts the clients."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until they have asked enough."""
        self.enough.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, digit: int) -> None:
        with httpx.Client(base_url=self._url, timeout=240, trust_env=False) as client:
            while not self.enough.is_set() or self.versions.total() < self._requests:
                try:
                    since, answer = self._answer(client, digit)
                    self._check(answer, digit, since)
                except Exception as error:  # noqa: BLE001 - no client ends unseen, whatever it was answered
                    self.wrong.append(repr(error))
                    return

    def _answer(self, client: httpx.Client, digit: int) -> tuple[float, httpx.Response]:
        """Returns the answer to a request, which is repeated after a server's death, and when it was made.

        Raises:
            TransportError: There is none within the time for repetitions.
        """
        end = time.monotonic() + self._repeat_s
        while True:
            since = time.monotonic()
            try:
                return since, client.post(self._path, json=tensor([digit]))
            except httpx.TransportError as error:
                if not isinstance(error, httpx.ConnectError):  # else there was no server
                    self.cut_off.append(repr(error))
                if time.monotonic() >= end:
                    raise
            time.sleep(0.1)

    def _check(self, answer: httpx.Response, digit: int, since: float) -> None:
        found = answer.json()
        version = str(found["model_version"])
        [label] = next(output["data"] for output in found["outputs"] if output["name"] == "label")
        mark = self._marks[version]
        if answer.status_code != 200 or (mark and label != f"{mark} {digit}"):
            self.wrong.append(answer.text[:200])
        if self._holders and not self._holders.may_answer(version, since):
            self.wrong.append(f"{version} answered after the server had its successor")
        self.versions[version] += 1
