"""A worker that waits for another order of the same stage can be stopped."""

import threading
from pathlib import Path

import pytest

from flows.core.errors import Interrupted
from flows.core.file_lock import exclusive_lock
from flows.workers.code_checkout import stage_folder
from flows.workers.executor import Executor
from tests.flows.workers.test_order import clone, order

__all__ = ["clone"]


def test_a_cancelled_order_waits_no_longer(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order whose run was cancelled ends while another one still holds the stage's folder."""
    monkeypatch.setenv("INKFLOW_WORKER_HOME", str(tmp_path / "home"))
    executor = Executor(order(clone), print)
    with exclusive_lock(stage_folder(order(clone), tmp_path / "home") / "lock"):
        cancel = threading.Timer(0.2, executor.interrupt)
        cancel.start()
        with pytest.raises(Interrupted):
            executor.run()
        cancel.join()
