"""How each stage may be run: slots, GPUs, retries, time limit, work pool. Declared in execution.yaml, in one place."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.core.errors import PolicyInvalid
from stages.base.validation_messages import sentences

PATH = Path("execution.yaml")
VERSIONS_OF = ("python", "keras", "tensorflow", "jax", "jaxlib", "numpy", "scipy", "onnx", "tf2onnx", "onnxruntime")

PRELOAD = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?")


def importable(name: str) -> str:
    """The name of a module, or of a function in one."""
    if not PRELOAD.fullmatch(name):
        raise ValueError(f"got {name!r}, expected a module, or module:function")
    return name


def listed(value: object) -> object:
    """A list as the tuple that it stands for: YAML has no tuples."""
    return tuple(value) if isinstance(value, list) else value


class StagePolicy(BaseModel):
    """How one stage may be run; the defaults are for a stage that nobody said anything of."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    slots: int = Field(1, ge=1, le=1024, description="how many of --jobs it takes")
    gpus: int = Field(0, ge=0, le=64, description="GPUs it takes on a machine that has any")
    retries: int = Field(0, ge=0, le=100, description="further tries after a failure that can pass by itself")
    retry_delay_s: float = Field(0.0, ge=0, le=86_400, description="wait before a further try, in seconds")
    timeout_s: float | None = Field(None, gt=0, description="time limit of one try, in seconds; none when null")
    pool: str | None = Field(None, min_length=1, description="Prefect work pool that runs it; this machine when null")
    preload: Annotated[tuple[Annotated[str, AfterValidator(importable)], ...], BeforeValidator(listed)] = Field(
        (),
        description="modules, or module:function to call, which one process imports for all stages that want them",
    )
    fixed_outputs: bool = Field(
        False, description="its outputs are the same each time it succeeds, as of a check: a plan counts on that"
    )


class Workers(BaseModel):
    """What holds for the workers of all pools."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pool_wait_s: float = Field(60.0, ge=0, le=86_400, description="wait for a pool's first worker, in seconds")
    remote_wait_s: float = Field(120.0, ge=0, le=86_400, description="wait for an unreachable DVC remote, in seconds")
    lost_after_s: float = Field(
        30.0, ge=5, le=3600, description="silence after which a worker counts as lost, in seconds"
    )
    resends: int = Field(2, ge=0, le=100, description="how often a stage whose worker was lost is sent again")
    other_versions: Literal["refuse", "warn"] = Field("refuse", description="what a worker with other versions does")
    versions_of: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        VERSIONS_OF, description="packages whose versions decide results"
    )


class Policies(BaseModel):
    """All of execution.yaml: patterns of stage names with their policies, the first that fits counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stages: dict[str, StagePolicy] = Field(default_factory=dict, description="policy by pattern of stage names")
    workers: Workers = Field(default_factory=Workers, description="what holds for the workers of all pools")

    def of(self, stage: str) -> StagePolicy:
        """Policy of `stage`."""
        return next((policy for pattern, policy in self.stages.items() if fnmatchcase(stage, pattern)), StagePolicy())

    def all_here(self) -> "Policies":
        """The same without pools."""
        here = {pattern: policy.model_copy(update={"pool": None}) for pattern, policy in self.stages.items()}
        return self.model_copy(update={"stages": here})


def load_policies(root: Path) -> Policies:
    """Read execution.yaml below `root`; defaults for everything where there is none.

    Raises:
        PolicyInvalid: the file is not YAML or has mistakes: one sentence each.
    """
    path = root / PATH
    if not path.exists():
        return Policies()
    try:
        content: Any = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise PolicyInvalid(f"{PATH} cannot be read: {' '.join(str(error).split())}") from error
    try:
        return Policies.model_validate(content if isinstance(content, Mapping) else {"stages": content or {}})
    except ValidationError as error:
        mistakes = sentences(error, Policies)
        raise PolicyInvalid("\n".join(f"{PATH}: {mistake}" for mistake in mistakes)) from error
