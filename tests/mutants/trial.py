"""A plugin of pytest that tries the mutants of modules instead of running the tests.

The tests are collected once. Each mutant gets a forked process, in which the functions of the module get the code of
the mutant, and those tests run that enter the changed function, the quickest first, until one fails.
"""

import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.mutations import Mutant, mutants
from tests.mutants.registry import Module
from tests.support.root import ROOT

CPU_S = 20  # processor time of a mutant at most: more is an endless loop, which a test run notices too
WAIT_S = 30  # one that waits for ever is noticed as well: the tests of a mutant take a few seconds
WHOLE_S = 300  # of a test of the code as it is, on a busy machine
Choose = Callable[[Module, list[Mutant]], list[Mutant]]
PLAIN = (bool, int, float, str, bytes, tuple, frozenset)  # constants of a module that are replaced by value


@dataclass
class Result:
    """What became of the mutants of a module.

    Attributes:
        module: path of the module.
        survivors: the mutants that no test noticed.
        tried: the number of mutants.
    """

    module: str
    survivors: list[Mutant] = field(default_factory=list)
    tried: int = 0


class MutantLoop:
    """Tries those mutants of `modules` that `choose` picks of all of a module."""

    def __init__(self, modules: Sequence[Module], choose: Choose) -> None:
        self.results: list[Result] = []
        self._modules = modules
        self._choose = choose

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Takes the place of pytest's own loop over the collected tests."""
        if session.testsfailed:
            raise session.Failed(f"{session.testsfailed} test files cannot be collected")
        for module in self._modules:
            self.results.append(self._try_module(module, [item for item in session.items if module.is_tried_by(item)]))
        return True

    def _try_module(self, decides: Module, items: list[pytest.Item]) -> Result:
        path = ROOT / decides.path
        source = path.read_text(encoding="utf-8")
        chosen = self._choose(decides, [mutant for mutant in mutants(source) if decides.has(mutant)])
        module = importlib.import_module(decides.path.removesuffix(".py").replace("/", "."))
        functions = _functions(module, source)
        _keep_shared_fixtures(items)
        entered = _entered_functions(items, path)
        result = Result(decides.path, tried=len(chosen))
        gc.freeze()  # the forked processes need no copies of what they do not change
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for mutant in chosen:
            tests = [item for item, names in entered if not mutant.function or mutant.function in names]
            if not tests or not _fails(tests, partial(_apply, mutant, module, functions)):
                result.survivors.append(mutant)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        gc.unfreeze()
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        noticed = result.tried - len(result.survivors)
        print(
            f"{decides.path}: {result.tried} mutants, {noticed} noticed, {seconds:.0f} s of processor time", flush=True
        )
        return result


def _keep_shared_fixtures(items: list[pytest.Item]) -> None:
    """Runs a test of the first file that has fixtures of the whole file, so that the forked processes share them."""
    for item in items:
        beside = next((other for other in items if other.path == item.path and other is not item), None)
        if beside is not None and _has_shared_fixtures(item):
            _passes(item, beside)
            return


def _has_shared_fixtures(item: pytest.Item) -> bool:
    found: Any = getattr(item, "_fixtureinfo", None)
    return bool(found) and any(it.scope == "module" for items in found.name2fixturedefs.values() for it in items)


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Runs a test; fixtures that `following` needs too stay."""
    item.session._setupstate.teardown_exact(item)  # those of another file
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def _code(source: str, filename: str) -> dict[tuple[str, int], CodeType]:
    """Returns the code of each function in a module, by its qualified name and its number among those of this name."""
    found: dict[tuple[str, int], CodeType] = {}

    def visit(code: CodeType) -> None:
        for item in code.co_consts:
            if isinstance(item, CodeType):
                number = sum(1 for name, _ in found if name == item.co_qualname)
                found[item.co_qualname, number] = item
                visit(item)

    visit(compile(source, filename, "exec"))
    return found


def _functions(module: ModuleType, source: str) -> list[tuple[tuple[str, int], FunctionType]]:
    """Returns all living functions of `module`, with their key: those of other modules' names and of tables too."""
    keys = {code: key for key, code in _code(source, str(module.__file__)).items()}
    gc.unfreeze()  # objects that tests/conftest.py has frozen are in no list
    living = [
        item for item in gc.get_objects() if isinstance(item, FunctionType) and item.__module__ == module.__name__
    ]
    return [(keys[item.__code__], item) for item in living if item.__code__ in keys]


def _apply(mutant: Mutant, module: ModuleType, functions: list[tuple[tuple[str, int], FunctionType]]) -> None:
    """Gives the functions of `module` the code and the defaults of the mutant, and the module its constants."""
    filename = str(module.__file__)
    code = _code(mutant.source, filename)
    is_changed = [key for key, function in functions if code.get(key) != function.__code__]
    for key, function in functions:
        if key in code and len(code[key].co_freevars) == len(function.__code__.co_freevars):
            function.__code__ = code[key]
    if is_changed:  # else it is a constant, or the default of an argument
        return
    changed = dict(vars(module))
    exec(compile(mutant.source, filename, "exec"), changed)
    for (name, _), _ in functions:
        _copy_defaults(name, module, changed)
    for name, value in [item for item in vars(module).items() if not item[0].startswith("__")]:
        if isinstance(value, PLAIN) or type(value).__name__ == "ndarray":
            setattr(module, name, changed[name])
        elif isinstance(value, dict) and all(isinstance(item, (*PLAIN, set, type(None))) for item in value.values()):
            value.clear()
            value.update(changed[name])


def _copy_defaults(function: str, module: ModuleType, changed: dict[str, Any]) -> None:
    """Gives a function or method the defaults of the mutant's arguments."""
    owner, _, name = function.rpartition(".")
    old = vars(vars(module).get(owner, module) if owner else module).get(name)
    new = vars(changed.get(owner, module)).get(name) if owner else changed.get(name)
    if isinstance(old, FunctionType) and isinstance(new, FunctionType):
        old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__


def _entered_functions(items: list[pytest.Item], path: Path) -> list[tuple[pytest.Item, set[str]]]:
    """Runs the tests on the code as it is; returns each with the functions of `path` that it enters, quickest first.

    Raises:
        pytest.UsageError: A test fails without any mutant.
    """
    found = []
    for item in items:
        started = time.monotonic()
        seen = _in_child(partial(_traced, item, str(path)), WHOLE_S)
        if seen is None:
            raise pytest.UsageError(f"{item.nodeid} fails on the code as it is")
        if seen:
            found.append((time.monotonic() - started, item, seen))
    return [(item, seen) for _, item, seen in sorted(found, key=lambda row: row[0])]


def _traced(item: pytest.Item, filename: str) -> set[str] | None:
    seen: set[str] = set()

    def trace(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename == filename:
            seen.add(frame.f_code.co_qualname.partition(".<locals>")[0])

    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        passes = _passes(item, None)
    finally:
        sys.setprofile(None)
    return seen if passes else None


def _fails(tests: list[pytest.Item], change: Callable[[], None]) -> bool:
    """Runs `tests` after `change`, in a process of their own, until one fails; returns if one did."""

    def run() -> set[str] | None:
        change()
        following: list[pytest.Item | None] = [*tests[1:], None]
        return set() if all(map(_passes, tests, following)) else None

    return _in_child(run, WAIT_S) is None


def _in_child(run: Callable[[], set[str] | None], limit_s: float) -> set[str] | None:
    """Returns what `run` returns in a forked process; None if the process fails, loops, or takes longer."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    answer = folder / "answer.json"
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            seen = run()
            if seen is not None:
                answer.write_text(json.dumps(sorted(seen)))
                status = 0
        finally:
            os._exit(status)
    try:
        return set(json.loads(answer.read_text())) if _ends_well(process, limit_s) else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ends_well(process: int, limit_s: float) -> bool:
    """Waits for a process so long, ends all that it has left, and returns if it ended with 0."""
    end = time.monotonic() + limit_s
    status: int | None = None
    while status is None and time.monotonic() < end:
        done, code = os.waitpid(process, os.WNOHANG)
        if done:
            status = code
        else:
            time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    if status is None:
        os.waitpid(process, 0)
    return status == 0


def run(modules: Sequence[Module], choose: Choose = lambda _, found: found) -> list[Result]:
    """Returns the results of the mutants of `modules`, of those that `choose` picks.

    Raises:
        RuntimeError: pytest could not collect the tests, or one fails without a mutant.
    """
    loop = MutantLoop(modules, choose)
    tests = sorted({test for module in modules for test in module.tests})
    code = pytest.main(["-q", "-s", "-n", "0", "-p", "no:cacheprovider", "--no-header", *tests], plugins=[loop])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) or len(loop.results) < len(modules):
        raise RuntimeError(f"the tests of the mutants do not run: pytest ended with {code}")
    return loop.results
