"""Grades: how much of the environment's versions counts. Pure functions; the settings are in execution.yaml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.base.suggestions import did_you_mean

POLICY = "policy"  # the key beside the names, which says what a difference does
POLICIES = ("rerun", "warn", "ignore")
PROCESSOR = "processor"
PACKAGES = ("python", "keras", "tensorflow", "jax", "jaxlib", "numpy", "scipy", "onnx", "tf2onnx", "onnxruntime")
GRADES = {"exact": None, "minor": 2, "major": 1, "report": 0}  # the numbers of a version that count; None for all of it
RELEASE = re.compile(r"\d+(\.\d+)*")  # what precedes rc1, .post1, +cpu
NOT_INSTALLED = "not installed"

Settings = tuple[tuple[str, str], ...]  # grades by name, and the policy: frozen, as the models of execution.yaml are


@dataclass(frozen=True)
class Difference:
    """A difference between the environment in which a stage was recorded and the present one.

    Attributes:
        name: `python`, `processor`, or the name of a package.
        recorded: its version when the stage was recorded.
        present: its version here.
        grade: the grade in execution.yaml.
        policy: what the difference does: `rerun`, `warn`, or `report` if the grade says that it does not count.
    """

    name: str
    recorded: str
    present: str
    grade: str
    policy: str


def is_different(grade: str, recorded: str, present: str) -> bool:
    """Returns True if two versions differ in the numbers that `grade` counts, or in anything for `report`."""
    count = GRADES[grade]
    if not count:
        return recorded != present
    return _numbers(recorded, count) != _numbers(present, count)


def _numbers(version: str, count: int) -> list[str]:
    """Returns the first `count` numbers of a version, 0 for those that it lacks; other texts as they are."""
    release = RELEASE.match(version)
    return [*(release[0] if release else version).split("."), *["0"] * count][:count]


def differences(
    settings: Mapping[str, str], recorded: Mapping[str, str], present: Mapping[str, str]
) -> list[Difference]:
    """Returns what differs between a recorded environment and the present one, as far as `settings` name it.

    A name without a record makes no difference.
    """
    policy = settings.get(POLICY, "warn")
    if policy == "ignore":
        return []
    return [
        Difference(name, recorded[name], present[name], grade, "report" if grade == "report" else policy)
        for name, grade in settings.items()
        if name in recorded and name in present and is_different(grade, recorded[name], present[name])
    ]


def checked_settings(content: object) -> Settings:
    """Returns the section `environment` of execution.yaml.

    Raises:
        ValueError: the section is wrong; the message follows the name of the section.
    """
    if content is None:
        return ()
    if not isinstance(content, Mapping):
        raise ValueError(f"got {content!r}, expected names with grades, such as {{python: minor}}")
    return tuple(_checked(name, value) for name, value in content.items())


def _checked(name: Any, value: Any) -> tuple[str, str]:
    if not isinstance(name, str) or not name:
        raise ValueError(f"got the name {name!r}, expected python, processor, policy or the name of a package")
    allowed = POLICIES if name == POLICY else ("exact", "report") if name == PROCESSOR else tuple(GRADES)
    if value not in allowed:
        reason = ", since a processor has no version" if name == PROCESSOR and value in GRADES else ""
        hint = did_you_mean(str(value), allowed).rstrip()
        raise ValueError(
            f"{name}: got {value!r}, expected one of {', '.join(allowed)}{reason}" + (f"; {hint}" if hint else "")
        )
    return name, str(value)
