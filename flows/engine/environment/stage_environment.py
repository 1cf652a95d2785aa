"""The environment of stages as execution.yaml names it: compares it with the record, and records it."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from flows.core.errors import PolicyInvalid
from flows.engine.environment.grades import NOT_INSTALLED, PACKAGES, POLICY, PROCESSOR, Difference, differences
from flows.engine.environment.present import installed_names, present_version
from flows.engine.environment.records import EnvironmentRecords
from stages.base.suggestions import did_you_mean

KNOWN = {PROCESSOR, *PACKAGES}  # names that are compared although no such package is installed
MAX_NAMED = 3  # stages that a notice names


class StageEnvironment:
    """Compares and records the environment of the stages of one project. Stages of a work pool have none here."""

    def __init__(
        self,
        root: Path,
        cache: Path,
        settings: Callable[[str], Mapping[str, str]],
        make_folder: Callable[[str], object] = os.mkdir,
    ) -> None:
        """Create it for the project at `root` with a DVC cache, in which `make_folder` makes a missing folder.

        `settings` returns the grades and policy of a stage.
        """
        self._records = EnvironmentRecords(root, cache, make_folder)
        self._settings = settings
        self._present: dict[str, str] = {}

    def check(self, stages: Iterable[str]) -> None:
        """Check that execution.yaml names no package that is neither installed nor recorded, for `stages`.

        Raises:
            PolicyInvalid: it does.
        """
        names = {name for stage in stages for name in self._settings(stage) if name != POLICY}
        unknown = [name for name in sorted(names - KNOWN) if self._version(name) == NOT_INSTALLED]
        recorded = self._records.names() if unknown else set()
        for name in [name for name in unknown if name not in recorded]:
            hint = did_you_mean(name, [*KNOWN, *installed_names()])
            raise PolicyInvalid(
                f"execution.yaml: environment: no package {name!r} is installed; {hint}install it, or remove the name"
            )

    def differences(self, stage: str, outputs: Mapping[str, str]) -> tuple[Difference, ...]:
        """Return how the environment in which `stage` made its recorded `outputs` differs from the present one."""
        settings = self._settings(stage)
        known = self._records.of(stage, outputs) if settings else {}
        present = {name: self._version(name) for name in settings if name in known}
        return tuple(differences(settings, known, present))

    def allows(self, stage: str, outputs: Mapping[str, str], *, is_known: bool = False) -> bool:
        """Return True unless the policy of `stage` says `rerun`, and it made `outputs` in another environment.

        Args:
            stage: the stage.
            outputs: hashes of its outputs by path.
            is_known: the environment must be known.
        """
        if is_known and not self._records.of(stage, outputs):
            return False
        return all(difference.policy != "rerun" for difference in self.differences(stage, outputs))

    def record(self, stage: str, outputs: Mapping[str, str]) -> bool:
        """Record the present environment as that of `stage`, which has just made `outputs`; True if it was new."""
        names = [name for name in self._settings(stage) if name != POLICY]
        return self._records.add(stage, outputs, {name: self._version(name) for name in names})

    def restore(self, stage: str, outputs: Mapping[str, str]) -> bool:
        """Record the environment in which restored `outputs` of `stage` were made, if known; True if it was new."""
        known = self._records.of(stage, outputs) if self._settings(stage) else {}
        return self._records.put(stage, outputs, known)

    def _version(self, name: str) -> str:
        if name not in self._present:
            self._present[name] = present_version(name)
        return self._present[name]


def notices(found: Mapping[str, Sequence[Difference]]) -> list[str]:
    """Return a sentence for each difference of the environment that is no reason to run, with the stages it is of."""
    stages: dict[Difference, list[str]] = {}
    for stage, items in found.items():
        for item in items:
            if item.policy != "rerun":
                stages.setdefault(item, []).append(stage)
    return [_sentence(item, names) for item, names in stages.items()]


def _sentence(item: Difference, stages: Sequence[str]) -> str:
    more = f" and {len(stages) - MAX_NAMED} more" if len(stages) > MAX_NAMED else ""
    verb = "was" if len(stages) == 1 else "were"
    again = "; `inkflow run --force` makes them here" if item.policy == "warn" else ""
    return (
        f"{item.name} {item.recorded} → {item.present} since {', '.join(stages[:MAX_NAMED])}{more} {verb} recorded: "
        f"results made here can differ from those that dvc.lock names{again}"
    )
