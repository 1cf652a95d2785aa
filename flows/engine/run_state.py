"""A run as its caller sees it: how it is to be done, who watches, and what became of it."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.engine.display.plain import Display, Silence
from flows.engine.types import Outcome, Result
from flows.workers.pool_stages import Carrier
from stages.base.errors import InkflowError

if TYPE_CHECKING:
    from flows.engine.engine import Engine

RUN_ITSELF = "run"  # in place of a stage's name: an error that belongs to none
GATES = "gates"  # likewise: a model that did not reach what is asked of it


@dataclass(frozen=True)
class Options:
    """How a run is to be done."""

    jobs: int | None = None
    force: bool = False
    keep_going: bool = False
    here: bool = False  # no stage goes to a pool
    pulls: bool = False  # what is to be restored may come from the DVC remote


@dataclass
class Session:
    """One run as its caller sees it: who watches, what became of each stage, what went wrong first."""

    display: Display = field(default_factory=Silence)
    early: "Engine | None" = None  # one that runs already, while the flow is still being prepared
    results: list[Result] = field(default_factory=list)
    errors: dict[str, InkflowError] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    carrier: "Future[Carrier]" = field(default_factory=Future)  # to work pools; there when Prefect is
    temporary_server: bool = False  # one that lives as long as the run: it has no pools

    def begin_anew(self) -> None:
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
        """The run in a few words."""
        failed = [name for name in self.errors if name not in (RUN_ITSELF, GATES)]
        total = len(self.results) + len(failed) + len(self.not_run)
        parts = [f"{len(self.ran)} of {total} stages ran"]
        for outcome, word in ((Outcome.RESTORED, "restored"), (Outcome.RECORDED, "recorded")):
            count = sum(result.outcome is outcome for result in self.results)
            parts += [f"{count} {word}"] if count else []
        parts += [f"{len(failed)} failed: {', '.join(failed)}"] if failed else []
        parts += [f"{len(self.not_run)} not run"] if self.not_run else []
        return ", ".join(parts)
