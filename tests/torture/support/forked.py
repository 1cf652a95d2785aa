"""Runs `inkflow` in forks of one process that has imported its modules: a command then takes a tenth of a second.

`python -m tests.torture.support.forked` reads orders from standard input, a line of JSON for each.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tests.support.root import ROOT

LIMIT_S = 240.0  # of a command, on a busy machine: what takes longer hangs
PRELOADED = (
    "dvc.repo", "numpy", "onnxruntime", "pandas", "pyarrow.parquet", "pydantic", "rich.table", "ruamel.yaml",
    "flows.cli.check", "flows.cli.compare", "flows.cli.main", "flows.cli.models.registry", "flows.cli.plan",
    "flows.cli.report", "flows.cli.run", "flows.cli.runs.report_runs", "flows.cli.status", "flows.engine.engine",
    "flows.cli.interactive_run", "flows.dvc_repo.history.run_files", "flows.engine.policy", "stages.monitor.monitor",
    "stages.params.schema", "stages.predict.predict",
)  # fmt: skip


class Outcome(NamedTuple):
    """The end of a command: its exit code, None if it did not end in time, and the texts that it wrote."""

    code: int | None
    out: str
    err: str


class Forked:
    """The process whose forks run commands."""

    def __init__(self, process: "subprocess.Popen[str]", texts: Path) -> None:
        self._process, self._texts = process, texts

    def __call__(self, *words: str, folder: Path, module: str = "", **environment: str) -> Outcome:
        """Runs `inkflow WORDS`, or the program `module` of `stages`, in `folder`."""
        order = {"words": words, "folder": str(folder), "texts": str(self._texts), "module": module}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order | {"environment": environment}) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        texts = ((self._texts / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
        return Outcome(code, *texts)


@contextmanager
def forking(texts: Path, environment: Mapping[str, str]) -> Iterator[Forked]:
    """Starts the process; it ends with the block. `texts` is a folder for what the commands write."""
    texts.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.torture.support.forked"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Forked(process, texts)
        assert process.stdin is not None
        process.stdin.close()


def main() -> None:
    """Runs orders until standard input ends."""
    for name in PRELOADED:
        import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(order)
        print(json.dumps(wait(pid, LIMIT_S)), flush=True)


def _run(order: Mapping[str, Any]) -> NoReturn:
    """Becomes the command of an order."""
    os.setsid()
    os.chdir(order["folder"])
    os.environ |= order["environment"] | {"PWD": order["folder"]}
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{order['texts']}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    try:
        _call(order["words"], order["module"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as Python itself ends, with a traceback
        sys.excepthook(*sys.exc_info())
        code = 1
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _call(words: Sequence[str], module: str) -> None:
    if module:
        sys.argv = [module, *words]
        sys.exit(import_module("stages.base.errors").exit_with(import_module(f"stages.{module}").main))
    sys.argv = ["inkflow", *words]
    import_module("flows.cli.main").console()


def wait(pid: int, limit_s: float) -> int | None:
    """Returns the exit code of a child that leads a group; None if it had to be killed, with its group."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with suppress(ProcessLookupError):  # before it leads its group
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


if __name__ == "__main__":
    main()
