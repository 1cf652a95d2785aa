"""The policies in execution.yaml, which say how each stage may run: slots, GPUs, memory, retries, time limit, pool."""

import re
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from ruamel.yaml.error import YAMLError

from flows.core.errors import PolicyInvalid
from flows.core.notices import note_once
from flows.engine.environment.grades import GRADES, PACKAGES, POLICIES, Settings, checked_settings
from flows.engine.resources import machine_memory
from stages.base.shown_text import shortened
from stages.base.validation_messages import error_messages
from stages.base.yaml_text import parse_yaml

PATH = Path("execution.yaml")
BYTES = TypeAdapter(ByteSize)
AMOUNT = re.compile(r"\s*([\d_]+|\d*\.?\d+\s*[a-zA-Z]+)\s*")  # Pydantic reads 1 byte in "1,5 GB", and 0 in "0.5"
MAX_S = 366 * 86_400  # of a time limit: a thread cannot wait for infinity
PRELOAD = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?")


def _check_preload(name: str) -> str:
    if not PRELOAD.fullmatch(name):
        raise ValueError(f"got {name!r}, expected a module, or module:function")
    return name


def _to_tuple(value: object) -> object:
    """Converts a list of YAML, which has no tuples: the models are frozen and strict."""
    return tuple(value) if isinstance(value, list) else value


Environment = Annotated[Settings, BeforeValidator(checked_settings)]


def _to_bytes(value: object) -> int:
    """Converts an amount of memory such as 4GiB, 512MB or a number of bytes."""
    with suppress(ValidationError):
        if not isinstance(value, str) or AMOUNT.fullmatch(value):
            return BYTES.validate_python(value, strict=True)
    raise ValueError(f"got {value!r}, expected an amount of memory, such as 4GiB, 512MB or a number of bytes")


def _to_names(value: object) -> object:
    """Converts a list of names, or a single name, to a tuple."""
    if not isinstance(value, str | list | tuple):
        raise ValueError(f"got {value!r}, expected a list of names, such as [database]")
    return (value,) if isinstance(value, str) else tuple(value)


Memory = Annotated[int, BeforeValidator(_to_bytes), Field(le=1 << 60)]  # beyond it, Pydantic cannot write an amount
Name = Annotated[str, Field(min_length=1, max_length=200)]


class StagePolicy(BaseModel):
    """How one stage may run; the defaults hold for a stage that no pattern matches."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    slots: int = Field(1, ge=1, le=1024, description="slots of --jobs that it takes")
    gpus: int = Field(0, ge=0, le=64, description="GPUs that it takes, on a machine with GPUs")
    memory: Memory = Field(0, description="memory that it takes, such as 4GiB; booked, not enforced")
    mutex: Annotated[tuple[Name, ...], BeforeValidator(_to_names)] = Field(
        (), description="names; stages that have one in common never run at the same time"
    )
    retries: int = Field(0, ge=0, le=100, description="further attempts after a failure that may be temporary")
    retry_delay_s: float = Field(0.0, ge=0, le=86_400, description="wait before a further attempt, in seconds")
    timeout_s: float | None = Field(
        None, gt=0, le=MAX_S, description="time limit of one attempt, in seconds; none when null"
    )
    pool: str | None = Field(None, min_length=1, description="Prefect work pool that runs it; this machine when null")
    preload: Annotated[tuple[Annotated[str, AfterValidator(_check_preload)], ...], BeforeValidator(_to_tuple)] = Field(
        (), description="modules to import, or module:function to call, once for all stages with the same list"
    )
    environment: Environment = Field((), description="grades of the environment, in addition to those of all stages")
    fixed_outputs: bool = Field(
        False, description="whether all successful runs give the same outputs, as of a check; a plan relies on it"
    )
    cosmetic: Literal["record", "run"] | None = Field(
        None, description="what a change in comments, docstrings and formatting of its code does; that of all stages"
    )
    undeclared: Literal["warn", "fail", "ignore"] | None = Field(
        None, description="what a read file of the project does that is no dependency; that of all stages"
    )


DEFAULT = StagePolicy()


class Workers(BaseModel):
    """Settings for the workers of all pools."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pool_wait_s: float = Field(60.0, ge=0, le=86_400, description="wait for a pool's first worker, in seconds")
    remote_wait_s: float = Field(120.0, ge=0, le=86_400, description="wait for an unreachable DVC remote, in seconds")
    lost_after_s: float = Field(
        30.0, ge=5, le=3600, description="time without a heartbeat after which a worker counts as lost, in seconds"
    )
    resends: int = Field(2, ge=0, le=100, description="how often a stage whose worker was lost is sent again")
    other_versions: Literal["refuse", "warn"] = Field("refuse", description="what a worker with other versions does")
    versions_of: Annotated[tuple[str, ...], BeforeValidator(_to_tuple)] = Field(
        PACKAGES, description="packages whose versions affect results"
    )


class Resources(BaseModel):
    """What this machine gives to stages, where that is not all that it has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    memory: Annotated[Memory, Field(gt=0)] | None = Field(
        None, description="memory for all stages that run at a time; that of the machine when null"
    )

    def total_memory(self) -> int:
        """Returns the bytes that the stages on this machine may ask for together."""
        return machine_memory() if self.memory is None else self.memory


class QueueLimits(BaseModel):
    """Limits of a work queue of a pool; a key that is None leaves what the server has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    limit: int | None = Field(None, ge=1, le=10_000, description="flow runs of this queue at a time")
    priority: int | None = Field(None, ge=1, le=10_000, description="runs of a queue with a lower number start first")


class PoolLimits(BaseModel):
    """Limits of a work pool, which `inkflow up` sets on its server; what is not named stays as it is there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    limit: int | None = Field(
        None, ge=1, le=10_000, description="flow runs of the pool at a time, over all of its workers"
    )
    queues: dict[str, QueueLimits] = Field(default_factory=dict, description="limits by name of a work queue")


class Policies(BaseModel):
    """The content of execution.yaml: policies by pattern of stage names; the first pattern that matches counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stages: dict[str, StagePolicy] = Field(default_factory=dict, description="policy by pattern of stage names")
    resources: Resources = Field(default_factory=Resources, description="what this machine gives to stages")
    workers: Workers = Field(default_factory=Workers, description="settings for the workers of all pools")
    pools: dict[str, PoolLimits] = Field(default_factory=dict, description="limits by name of a work pool")
    assets: bool = Field(
        False, description="whether Prefect gets an event, with lineage, for each output that a run made"
    )
    environment: Environment = Field((), description="grades of versions and of the processor, and the policy")
    other_results: Literal["restore", "run"] = Field(
        "restore", description="of a stage whose recorded outputs no cache has: restore another result, or run"
    )
    cosmetic: Literal["record", "run"] = Field(
        "record", description="what a change in comments, docstrings and formatting of code does, of all stages"
    )
    undeclared: Literal["warn", "fail", "ignore"] = Field(
        "warn", description="what a file of the project does that a stage reads and does not name as a dependency"
    )

    def runs_cosmetic_changes(self, stage: str) -> bool:
        """Returns True if a change of comments in the code of `stage` makes it run, as every change does for DVC."""
        return (self.of(stage).cosmetic or self.cosmetic) == "run"

    def of_undeclared(self, stage: str) -> str:
        """Returns what happens when `stage` has read a file of the project that is no dependency of it."""
        return self.of(stage).undeclared or self.undeclared

    def of(self, stage: str) -> StagePolicy:
        """Returns the policy of `stage`."""
        return next((policy for pattern, policy in self.stages.items() if fnmatchcase(stage, pattern)), DEFAULT)

    @property
    def names_environment(self) -> bool:
        """True if the environment of a stage counts."""
        return bool(self.environment or any(policy.environment for policy in self.stages.values()))

    def environment_of(self, stage: str) -> dict[str, str]:
        """Returns grades by name and the policy for `stage`; empty for a stage that a worker of a pool runs."""
        policy = self.of(stage)
        return {} if policy.pool else {**dict(self.environment), **dict(policy.environment)}

    @property
    def has_pools(self) -> bool:
        """Whether a stage may run in a work pool."""
        return any(policy.pool is not None for policy in self.stages.values())

    def without_pools(self) -> "Policies":
        """Returns the same policies for a run on this machine alone."""
        local = {pattern: policy.model_copy(update={"pool": None}) for pattern, policy in self.stages.items()}
        return self.model_copy(update={"stages": local})


SECTIONS: dict[str, type[BaseModel]] = {
    "stages": StagePolicy,
    "resources": Resources,
    "workers": Workers,
    "pools": PoolLimits,
}
OWN_SECTION = re.compile(
    r"^(stages|resources|workers|pools|assets|cosmetic|environment|other_results|undeclared)\s*:", re.MULTILINE
)


def load_policies(root: Path) -> Policies:
    """Reads execution.yaml in the folder `root`; returns the defaults if there is none, or if it is another program's.

    Raises:
        PolicyInvalid: the file is not YAML, or has mistakes: one sentence each.
    """
    path = root / PATH
    if not path.exists():
        return Policies()
    try:
        return _policies(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise PolicyInvalid(f"{PATH} cannot be read: {error}") from error


@lru_cache(maxsize=1)
def _policies(text: str) -> Policies:
    """Returns the policies in the text of execution.yaml, which several parts of a run ask for."""
    try:
        content: Any = parse_yaml(text)
    except (ValueError, YAMLError) as error:
        if isinstance(error, YAMLError) and not OWN_SECTION.search(text):
            return _ignore()
        raise PolicyInvalid(f"{PATH} cannot be read: {shortened(' '.join(str(error).split()))}") from error
    if not content or (isinstance(content, Mapping) and not any(content.values())):
        return Policies()
    if not _has_policies(content):
        return _ignore()
    try:
        return Policies.model_validate(content)
    except ValidationError as error:
        mistakes = error_messages(error, Policies)
        raise PolicyInvalid("\n".join(f"{PATH}: {mistake}" for mistake in mistakes)) from error


def _has_policies(content: Any) -> bool:
    """True if a section has a key of ours, or one nearly like it: other programs may use the name of the file."""
    for key, section in content.items() if isinstance(content, Mapping) else ():
        nearest = get_close_matches(str(key), Policies.model_fields, n=1)
        if nearest == ["other_results"] and get_close_matches(str(key), nearest, cutoff=0.9):
            return True
        if nearest == ["environment"] and _is_environment(section):
            return True
        if (nearest, type(section)) in ((["cosmetic"], str), (["undeclared"], str), (["assets"], bool)):
            return True
        if nearest and nearest[0] in SECTIONS and isinstance(section, Mapping):
            model = SECTIONS[nearest[0]]
            entries = section.values() if model in (StagePolicy, PoolLimits) else [section]
            items = [item for entry in entries if isinstance(entry, Mapping) for item in entry.items()]
            for name, value in items:
                nearest = get_close_matches(str(name), model.model_fields, n=1)
                if nearest and (nearest != ["environment"] or _is_environment(value)):
                    return True
    return False


def _is_environment(section: Any) -> bool:
    """True if a value is a grade or a policy of ours, or nearly so: many programs have a key of this name."""
    values = [str(value) for value in section.values()] if isinstance(section, Mapping) else []
    return any(get_close_matches(value, [*GRADES, *POLICIES], n=1) for value in values)


def _ignore() -> Policies:
    note_once(f"{PATH} has no policy of Inkflow for a stage or for workers, so it is ignored")
    return Policies()
