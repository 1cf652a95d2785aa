"""One run: its request, its display, its results. The command makes it; the engine and the flow are given it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.types import Outcome, Result
from stages.base.errors import InkflowError

if TYPE_CHECKING:  # loading the schema takes an eighth of a second: not for a project that has none
    from stages.params.schema import Params

RUN_ITSELF = "run"  # in place of a stage's name: an error that belongs to none
GATES = "gates"  # likewise: a model that did not reach what is asked of it


@dataclass(frozen=True)
class Options:
    """How a run is to be done."""

    jobs: int | None = None
    force: bool = False
    keep_going: bool = False
    local: bool = False  # no stage goes to a pool
    pull: bool = False  # outputs to restore may come from the DVC remote


@dataclass
class Run:
    """One run: its request, its display, its results.

    Attributes:
        targets: stages to bring up to date with all that they need; all when empty.
        options: how.
        display: what a person sees.
        params: the project's parameters; None in a project without our schema.
        fallback: the data set to use when the chosen one cannot be had.
        temporary_server: True where the Prefect server lives as long as the run: it has no pools.
    """

    targets: Sequence[str] = ()
    options: Options = Options()
    display: Display = field(default_factory=SilentDisplay)
    params: "Params | None" = None
    fallback: str | None = None
    temporary_server: bool = False
    results: list[Result] = field(default_factory=list)
    errors: dict[str, InkflowError] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget what became of the stages: they are gone through once more."""
        self.results.clear()
        self.errors.clear()
        self.not_run.clear()

    @property
    def ran(self) -> Sequence[str]:
        """Names of the stages that ran."""
        return [result.stage for result in self.results if result.outcome is Outcome.RAN]

    @property
    def error(self) -> InkflowError | None:
        """The first error; None when all went well."""
        return next(iter(self.errors.values()), None)

    @property
    def summary(self) -> str:
        """The run in a few words: `3 of 16 stages ran, 2 restored, 1 failed: train@cnn`."""
        failed = [name for name in self.errors if name not in (RUN_ITSELF, GATES)]
        total = len(self.results) + len(failed) + len(self.not_run)
        parts = [f"{len(self.ran)} of {total} stages ran"]
        for outcome, word in ((Outcome.RESTORED, "restored"), (Outcome.RECORDED, "recorded")):
            count = sum(result.outcome is outcome for result in self.results)
            parts += [f"{count} {word}"] if count else []
        parts += [f"{len(failed)} failed: {', '.join(failed)}"] if failed else []
        parts += [f"{len(self.not_run)} not run"] if self.not_run else []
        return ", ".join(parts)
