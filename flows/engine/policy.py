"""The policies in execution.yaml, which say how each stage may run: slots, GPUs, retries, time limit, work pool."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml.error import YAMLError

from flows.core.errors import PolicyInvalid
from flows.core.notices import note_once
from stages.base.validation_messages import error_messages
from stages.base.yaml_text import parse_yaml

PATH = Path("execution.yaml")
PACKAGES = ("python", "keras", "tensorflow", "jax", "jaxlib", "numpy", "scipy", "onnx", "tf2onnx", "onnxruntime")
PRELOAD = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?")


def _check_preload(name: str) -> str:
    if not PRELOAD.fullmatch(name):
        raise ValueError(f"got {name!r}, expected a module, or module:function")
    return name


def _to_tuple(value: object) -> object:
    """Converts a list of YAML, which has no tuples: the models are frozen and strict."""
    return tuple(value) if isinstance(value, list) else value


class StagePolicy(BaseModel):
    """How one stage may run; the defaults hold for a stage that no pattern matches."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    slots: int = Field(1, ge=1, le=1024, description="slots of --jobs that it takes")
    gpus: int = Field(0, ge=0, le=64, description="GPUs that it takes, on a machine with GPUs")
    retries: int = Field(0, ge=0, le=100, description="further attempts after a failure that may be temporary")
    retry_delay_s: float = Field(0.0, ge=0, le=86_400, description="wait before a further attempt, in seconds")
    timeout_s: float | None = Field(None, gt=0, description="time limit of one attempt, in seconds; none when null")
    pool: str | None = Field(None, min_length=1, description="Prefect work pool that runs it; this machine when null")
    preload: Annotated[tuple[Annotated[str, AfterValidator(_check_preload)], ...], BeforeValidator(_to_tuple)] = Field(
        (), description="modules to import, or module:function to call, once for all stages with the same list"
    )
    fixed_outputs: bool = Field(
        False, description="whether all successful runs give the same outputs, as of a check; a plan relies on it"
    )
    cosmetic: Literal["record", "run"] | None = Field(
        None, description="what a change in comments, docstrings and formatting of its code does; that of all stages"
    )


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


class Policies(BaseModel):
    """The content of execution.yaml: policies by pattern of stage names; the first pattern that matches counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stages: dict[str, StagePolicy] = Field(default_factory=dict, description="policy by pattern of stage names")
    workers: Workers = Field(default_factory=Workers, description="settings for the workers of all pools")
    cosmetic: Literal["record", "run"] = Field(
        "record", description="what a change in comments, docstrings and formatting of code does, of all stages"
    )

    def runs_cosmetic_changes(self, stage: str) -> bool:
        """Returns True if a change of comments in the code of `stage` makes it run, as every change does for DVC."""
        return (self.of(stage).cosmetic or self.cosmetic) == "run"

    def of(self, stage: str) -> StagePolicy:
        """Returns the policy of `stage`."""
        return next((policy for pattern, policy in self.stages.items() if fnmatchcase(stage, pattern)), StagePolicy())

    def without_pools(self) -> "Policies":
        """Returns the same policies for a run on this machine alone."""
        local = {pattern: policy.model_copy(update={"pool": None}) for pattern, policy in self.stages.items()}
        return self.model_copy(update={"stages": local})


def load_policies(root: Path) -> Policies:
    """Reads execution.yaml in the folder `root`; returns the defaults if there is none, or if it is another program's.

    Raises:
        PolicyInvalid: the file is not YAML, or has mistakes: one sentence each.
    """
    path = root / PATH
    if not path.exists():
        return Policies()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        content: Any = parse_yaml(text)
    except (OSError, ValueError, YAMLError) as error:
        if isinstance(error, YAMLError) and not re.search(r"^(stages|workers|cosmetic)\s*:", text, re.MULTILINE):
            return _ignore()
        raise PolicyInvalid(f"{PATH} cannot be read: {' '.join(str(error).split())}") from error
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
        if nearest == ["cosmetic"] and isinstance(section, str):
            return True
        if nearest and isinstance(section, Mapping):
            model, entries = (StagePolicy, section.values()) if nearest == ["stages"] else (Workers, [section])
            names = [str(name) for entry in entries if isinstance(entry, Mapping) for name in entry]
            if any(get_close_matches(name, model.model_fields, n=1) for name in names):
                return True
    return False


def _ignore() -> Policies:
    note_once(f"{PATH} has no policy of Inkflow for a stage or for workers, so it is ignored")
    return Policies()
