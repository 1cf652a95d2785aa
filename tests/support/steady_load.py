"""Clients that ask a server all the time while the model that it serves changes."""

import threading
import time
from collections import Counter
from collections.abc import Mapping

import httpx

from tests.stages.serve.test_serve import tensor

REQUESTS, CLIENTS = 2000, 8  # of a thorough test; a quick one asks less often


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
    ) -> None:
        """Creates the clients.

        Args:
            client: a client of the server.
            model: the model's name.
            marks: what the labels of each version begin with; empty for a version whose labels are not compared.
            requests: how many they make at least.
            clients: their number.
            repeat_s: how long they repeat a request that the server's death cut off; 0 if that is a mistake.
        """
        self._requests, self._repeat_s, self.cut_off = requests, repeat_s, 0
        self._url, self._path, self._marks = client.base_url, f"/v2/models/{model}/infer", marks
        self.enough = threading.Event()
        self.versions: Counter[str] = Counter()
        self.wrong: list[str] = []
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
        answered = time.monotonic()
        with httpx.Client(base_url=self._url, timeout=240, trust_env=False) as client:
            while not self.enough.is_set() or self.versions.total() < self._requests:
                try:
                    self._check(client.post(self._path, json=tensor([digit])), digit)
                    answered = time.monotonic()
                except httpx.TransportError as error:
                    if time.monotonic() - answered >= self._repeat_s:
                        self.wrong.append(repr(error))
                        return
                    self.cut_off += 1
                    time.sleep(0.1)
                except (httpx.HTTPError, LookupError, ValueError) as error:
                    self.wrong.append(repr(error))
                    return

    def _check(self, answer: httpx.Response, digit: int) -> None:
        found = answer.json()
        version = str(found["model_version"])
        [label] = next(output["data"] for output in found["outputs"] if output["name"] == "label")
        mark = self._marks[version]
        if answer.status_code != 200 or (mark and label != f"{mark} {digit}"):
            self.wrong.append(answer.text[:200])
        self.versions[version] += 1
