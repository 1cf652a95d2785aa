"""A plugin of pytest that tries the mutants of modules instead of running the tests.

The tests are collected once. Each mutant gets a forked process, in which the functions of the module get the code of
the mutant, and those tests run that enter the changed function, the quickest first, until one fails. Before the mutants
of a module, all of its tests have to pass in such a process with the code as it is.
"""

import gc
import importlib
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from stages.base.errors import InkflowError, InvalidInput
from tests.mutants.child import in_child
from tests.mutants.mutations import Mutant, mutants
from tests.mutants.registry import Module

CPU_S = 20  # processor time of a mutant at most, and of the module as it is
WAIT_S = 120  # of a mutant that waits, and ten times that of the module as it is, on a busy machine
WHOLE_S = 300  # of a test of the code as it is, on a busy machine
Choose = Callable[[Module, list[Mutant]], list[Mutant]]
Functions = list[tuple[tuple[str, int], FunctionType]]  # each with its qualified name and number
PLAIN = (bool, int, float, str, bytes, tuple, frozenset)  # constants of a module that are replaced by value


@dataclass
class Result:
    """What became of the mutants of a module.

    Attributes:
        module: path of the module.
        survivors: the mutants with which all tests passed.
        noticed: those with which a test failed.
        timed_out: those without a verdict: they exceeded the limit of time, or their process was killed.
    """

    module: str
    survivors: list[Mutant] = field(default_factory=list)
    noticed: list[Mutant] = field(default_factory=list)
    timed_out: list[Mutant] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """The number of mutants."""
        return len(self.survivors) + len(self.noticed) + len(self.timed_out)


class MutantLoop:
    """Tries those mutants of `modules` that `choose` picks of all of a module."""

    def __init__(self, modules: Sequence[Module], choose: Choose, cpu_s: int) -> None:
        self.results: list[Result] = []
        self.error: InkflowError | None = None
        self._modules = modules
        self._choose = choose
        self._cpu_s = cpu_s

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Takes the place of pytest's own loop over the collected tests."""
        if session.testsfailed:
            raise session.Failed(f"{session.testsfailed} test files cannot be collected")
        try:
            for module in self._modules:
                items = [item for item in session.items if module.is_tried_by(item)]
                self.results.append(self._try_module(module, items))
        except InkflowError as error:  # pytest would print it with its own trace
            self.error = error
        return True

    def _try_module(self, decides: Module, items: list[pytest.Item]) -> Result:
        module = importlib.import_module(decides.path.removesuffix(".py").replace("/", "."))
        path = Path(str(module.__file__))
        source = path.read_text(encoding="utf-8")
        chosen = self._choose(decides, [mutant for mutant in mutants(source) if decides.has(mutant)])
        functions = _functions(module, source)
        _keep_shared_fixtures(items)
        entered = _entered_functions(items, path)
        result = Result(decides.path)
        gc.freeze()  # the forked processes need no copies of what they do not change
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wait_s = WAIT_S + 10 * self._try_unchanged(decides, [item for item, _ in entered], module, functions, source)
        for mutant in chosen:
            tests = [item for item, names in entered if not mutant.function or mutant.function in names]
            passed = not tests or _passes_all(tests, partial(_apply, mutant, module, functions), wait_s, self._cpu_s)
            {True: result.survivors, False: result.noticed, None: result.timed_out}[passed].append(mutant)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        gc.unfreeze()
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        numbers = f"{result.tried} mutants, {len(result.noticed)} noticed, {len(result.timed_out)} timed out"
        print(f"{decides.path}: {numbers}, {seconds:.0f} s of processor time", flush=True)
        return result

    def _try_unchanged(
        self, decides: Module, tests: list[pytest.Item], module: ModuleType, functions: Functions, source: str
    ) -> float:
        """Tries the module as it is, like a mutant; returns the time in seconds.

        Raises:
            InvalidInput: A test fails, so that every mutant would seem to be noticed.
        """
        started = time.monotonic()
        unchanged = partial(_apply, Mutant("", "", "", 1, source), module, functions)
        passed = _passes_all(tests, unchanged, WHOLE_S, self._cpu_s)
        if not passed:
            why = "fail" if passed is False else "take too long"
            raise InvalidInput(f"{decides.path}: its tests, run together, {why} on the code as it is")
        return time.monotonic() - started


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


def _functions(module: ModuleType, source: str) -> Functions:
    """Returns all living functions of `module`, with their key: those of other modules' names and of tables too."""
    keys = {code: key for key, code in _code(source, str(module.__file__)).items()}
    gc.unfreeze()  # objects that tests/conftest.py has frozen are in no list
    living = [
        item for item in gc.get_objects() if isinstance(item, FunctionType) and item.__module__ == module.__name__
    ]
    return [(keys[item.__code__], item) for item in living if item.__code__ in keys]


def _apply(mutant: Mutant, module: ModuleType, functions: Functions) -> None:
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
    old, new = getattr(old, "__func__", old), getattr(new, "__func__", new)  # of class and static methods, as `__new__`
    if isinstance(old, FunctionType) and isinstance(new, FunctionType):
        old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__


def _entered_functions(items: list[pytest.Item], path: Path) -> list[tuple[pytest.Item, set[str]]]:
    """Runs the tests on the code as it is; returns each with the functions of `path` that it enters, quickest first.

    Raises:
        InvalidInput: A test fails without any mutant.
    """
    found = []
    for item in items:
        started = time.monotonic()
        seen = in_child(partial(_traced, item, str(path)), WHOLE_S, WHOLE_S)
        if seen is None or seen is False:
            raise InvalidInput(f"{item.nodeid} fails on the code as it is")
        if seen:
            found.append((time.monotonic() - started, item, set(seen)))
    return [(item, seen) for _, item, seen in sorted(found, key=lambda row: row[0])]


def _traced(item: pytest.Item, filename: str) -> list[str] | bool:
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
    return passes and sorted(seen)


def _passes_all(tests: list[pytest.Item], change: Callable[[], None], limit_s: float, cpu_s: int) -> bool | None:
    """Runs `tests` after `change`, in a process of their own, until one fails; None if that gives no verdict."""

    def run() -> bool:
        change()
        following: list[pytest.Item | None] = [*tests[1:], None]
        return all(map(_passes, tests, following))

    passed: bool | None = in_child(run, limit_s, cpu_s)
    return passed


def run(modules: Sequence[Module], choose: Choose = lambda _, found: found, *, cpu_s: int = CPU_S) -> list[Result]:
    """Returns the results of the mutants of `modules`, of those that `choose` picks.

    Args:
        modules: as Python can import them.
        choose: returns those mutants of a module that are tried.
        cpu_s: seconds of processor time that the tests of a mutant may take.

    Raises:
        InvalidInput: pytest could not collect the tests, or they do not pass without a mutant.
    """
    loop = MutantLoop(modules, choose, cpu_s)
    tests = sorted({test for module in modules for test in module.tests})
    code = pytest.main(["-q", "-s", "-n", "0", "-p", "no:cacheprovider", "--no-header", *tests], plugins=[loop])
    if loop.error:
        raise loop.error
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) or len(loop.results) < len(modules):
        raise InvalidInput(f"the tests of the mutants do not run: pytest ended with {code}")
    return loop.results
