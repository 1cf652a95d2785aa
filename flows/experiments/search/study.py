"""The study of a search: Optuna's journal, in a folder that several processes may use at a time.

    FOLDER/journal        all trials, as Optuna appends them
    FOLDER/claims.lock    held while a process takes a trial
    FOLDER/owners/ID      held as long as the process ID lives, which runs trials

A trial whose process is dead is taken over by the next process that asks: it keeps its number and its parameters. The
system releases all locks when a process dies, so that a killed search leaves none.
"""

import fcntl
import hashlib
import json
import os
import random
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import OptunaError
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from flows.core.file_lock import exclusive_lock, open_lock_file
from flows.core.redaction import mask
from flows.experiments.search.journal import JournalLock, SealedJournal
from flows.experiments.search.space import Choice, Dimension, settings_of
from flows.experiments.settings import identity
from stages.base.errors import InvalidInput, OutputError

STARTUP_TRIALS = 10  # of TPE and of the median: random proposals, and trials that are not pruned
OWNER, EXPERIMENT, PLACE, MESSAGE = "owner", "experiment", "place", "message"
OWNER_FILE = re.compile(r"[0-9a-f]{32}")
FAILURE = "failure"  # error of a trial that failed, and stays open until the study has a score
optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Definition:
    """What a study searches; a study keeps its definition.

    Attributes:
        space: the parameters.
        objective: name of the score.
        direction: minimize or maximize.
        targets: stages of a trial.
        base: digest of the files from which the trials start.
    """

    space: Sequence[Dimension]
    objective: str
    direction: str
    targets: Sequence[str]
    base: str

    def record(self) -> dict[str, Any]:
        """Returns the definition without its base, as the study records it."""
        space = [dimension.text() for dimension in self.space]
        return {
            "space": space, "objective": self.objective, "direction": self.direction, "targets": list(self.targets),
        }  # fmt: skip

    @property
    def name(self) -> str:
        """Name of the study if none is given; equal for equal definitions of equal files."""
        text = json.dumps([self.record(), self.base], sort_keys=True)
        return f"search-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Study:
    """The study in a folder; safe to use from several threads and processes."""

    def __init__(self, folder: Path, definition: Definition, search: str, prune: str | None, seed: int) -> None:
        """Opens the study, or creates it.

        Raises:
            InvalidInput: the study in the folder has another definition, or cannot be read.
            OutputError: the folder cannot be written.
        """
        self.folder, self.definition = folder, definition
        self._search, self._seed = search, seed
        self._id = uuid.uuid4().hex
        self._owned = ExitStack()
        try:
            (folder / "owners").mkdir(parents=True, exist_ok=True)
            with self._claims():  # no other process sees the new file before it is locked
                self._owned.enter_context(exclusive_lock(folder / "owners" / self._id))
                for owner in list((folder / "owners").iterdir()):
                    if OWNER_FILE.fullmatch(owner.name):  # else a file of the user, who may have named the folder
                        _is_held(owner)  # removes that of a dead process, also if no trial of it is left to take over
                self._study = self._open(_pruner(prune))
        except OSError as error:
            raise OutputError(error.filename or folder, error) from error
        except (ValueError, LookupError, TypeError, AttributeError, OptunaError) as error:
            raise InvalidInput(
                f"the study in {folder} cannot be read ({error}); move it away, or name another one with --study"
            ) from error

    @property
    def has_other_base(self) -> bool:
        """Whether the study began with other files."""
        return bool(self._study.user_attrs.get("base") != self.definition.base)

    def close(self) -> None:
        """Lets other processes take over the trials that this one has not finished."""
        self._owned.close()
        (self.folder / "owners" / self._id).unlink(missing_ok=True)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Returns the trials in `states`, all if none is given, by number.

        Raises:
            OutputError: the journal cannot be read.
        """
        with self._using_journal():
            found: list[FrozenTrial] = self._study.get_trials(deepcopy=False, states=states or None)
            return found

    def best(self) -> FrozenTrial | None:
        """Returns the complete trial with the best score; None if there is none."""
        sign = 1 if self.definition.direction == "minimize" else -1
        return min(self.trials(TrialState.COMPLETE), key=lambda trial: (sign * trial.value, trial.number), default=None)

    def claim(self, count: int) -> Trial | None:
        """Returns a trial to run: one whose process is dead, else a new one if there are fewer than `count`.

        Raises:
            OutputError: the journal cannot be written.
        """
        with self._using_journal(), self._claims():
            trials = self.trials()
            orphan = next((trial for trial in trials if self._is_orphan(trial)), None)
            if orphan is None and (len(trials) >= count or self.is_exhausted(trials)):
                return None
            number = len(trials) if orphan is None else orphan.number
            self._study.sampler = _sampler(self._search, random.Random(f"{self._seed}/{number}").getrandbits(32))
            trial = self._study.ask() if orphan is None else Trial(self._study, orphan._trial_id)
            trial.set_user_attr(OWNER, self._id)
            for dimension in self.definition.space:
                _suggest(trial, dimension)
            return trial

    def settings(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """Returns the settings of a trial."""
        return settings_of(self.definition.space, trial.params)

    def known(self, settings: Mapping[str, Any]) -> FrozenTrial | None:
        """Returns the complete trial with equal settings of equal types; None if there is none."""
        wanted = identity(settings)
        trials = self.trials(TrialState.COMPLETE)
        return next((trial for trial in trials if identity(self.settings(trial)) == wanted), None)

    def is_exhausted(self, trials: Sequence[FrozenTrial] | None = None) -> bool:
        """Returns whether all combinations of the space have been proposed."""
        size = 1.0
        for dimension in self.definition.space:
            size *= dimension.size
        trials = self.trials() if trials is None else trials
        if len(trials) < size:
            return False
        names = len(self.definition.space)
        proposed = [self.settings(trial) for trial in trials if len(trial.params) == names]
        return len(set(map(identity, proposed))) >= size

    def tell(self, trial: Trial, state: TrialState, value: float | None, attributes: Mapping[str, Any]) -> None:
        """Records the end of a trial.

        Raises:
            OutputError: the journal cannot be written.
        """
        self.note(trial, attributes)
        with self._using_journal():
            self._study.tell(trial, value, state)

    def note(self, trial: Trial, attributes: Mapping[str, Any]) -> None:
        """Records attributes of a trial; errors and messages without secrets.

        Raises:
            OutputError: the journal cannot be written.
        """
        with self._using_journal():
            for name, content in attributes.items():
                trial.set_user_attr(name, mask(content) if name in (MESSAGE, FAILURE) and content else content)

    @property
    def optuna_study(self) -> Any:
        """Optuna's own object, for its pictures and statistics."""
        return self._study

    def _open(self, pruner: BasePruner) -> Any:
        """Returns Optuna's study; a new one gets the definition."""
        journal = self.folder / "journal"
        journal.touch()
        lock = JournalLock(journal)
        lock.acquire()  # a half line would be a mistake for the reader too
        lock.release()
        study = optuna.create_study(
            storage=JournalStorage(SealedJournal(str(journal), lock)),
            study_name="search",
            direction=self.definition.direction,
            pruner=pruner,
            load_if_exists=True,
        )
        record = study.user_attrs.get("definition")
        if record is None:
            study.set_user_attr("base", self.definition.base)
            study.set_user_attr("definition", self.definition.record())
        elif record != self.definition.record():
            differing = [key for key, value in self.definition.record().items() if record.get(key) != value]
            raise InvalidInput(
                f"the study in {self.folder} has another {' and '.join(differing)}: "
                f"{record.get(differing[0])}, got {self.definition.record()[differing[0]]}; name a new one with --study"
            )
        return study

    @contextmanager
    def _using_journal(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(error.filename or self.folder, error) from error

    def _claims(self) -> Any:
        return exclusive_lock(self.folder / "claims.lock")

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        """Returns whether no living process runs a trial that has not ended; called with the lock on claims held."""
        if trial.state is not TrialState.RUNNING:
            return False
        owner = trial.user_attrs.get(OWNER)
        return owner is None or not _is_held(self.folder / "owners" / owner)


def _is_held(path: Path) -> bool:
    """Returns whether a living process holds the lock on `path`; removes the file of a dead one."""
    try:
        file = open_lock_file(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    path.unlink(missing_ok=True)
    return False


def _suggest(trial: Trial, dimension: Dimension) -> None:
    """Lets Optuna propose a value, unless the trial has one."""
    trial._suggest(dimension.key, _distribution(dimension))  # as Study.ask does


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(list(dimension.values))
    if dimension.integer:
        step = int(dimension.step or 1)
        return IntDistribution(int(dimension.low), int(dimension.last), dimension.log, step)
    return FloatDistribution(dimension.low, dimension.last, dimension.log, dimension.step)


def _sampler(search: str, seed: int) -> BaseSampler:
    """Returns a sampler; a search that goes on after a kill proposes as if it had not been killed."""
    if search == "random":
        return RandomSampler(seed)
    if search == "cmaes":
        return CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True)


def _pruner(prune: str | None) -> BasePruner:
    if prune == "asha":
        return SuccessiveHalvingPruner(min_resource=1)
    return MedianPruner(STARTUP_TRIALS // 2, n_warmup_steps=1) if prune == "median" else NopPruner()
