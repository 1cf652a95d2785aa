"""Grades of the environment as a table of cases, and mistakes in the section `environment` of execution.yaml."""

from pathlib import Path

import pytest

from flows.core.errors import PolicyInvalid
from flows.engine.environment.grades import checked_settings, differences, is_different
from flows.engine.environment.present import present_version, processor_class
from flows.engine.policy import Policies, load_policies
from tests.conftest import Toy


@pytest.mark.parametrize(
    ("grade", "recorded", "present", "expected"),
    [
        ("exact", "2.21.0", "2.21.0", False),
        ("exact", "2.21.0", "2.21.1", True),
        ("minor", "2.21.0", "2.21.1", False),
        ("minor", "2.21.0", "2.21.0rc1", False),
        ("minor", "2.21.0", "2.22.0", True),
        ("minor", "2.1+cpu", "2.1+cuda", False),
        ("minor", "2.2", "2.20", True),
        ("minor", "2.21", "2.21rc1", False),
        ("minor", "2.21.0", "2.21.dev3", False),
        ("minor", "2", "2.0", False),
        ("minor", "2", "2.1", True),
        ("minor", "2", "2rc1", False),
        ("major", "3rc1", "3.0", False),
        ("minor", "not installed", "2.0", True),
        ("minor", "unknown.1.2", "unknown.1.3", False),
        ("minor", "unknown.1.2", "unknown.2.2", True),
        ("major", "2.21.0", "2.22.0", False),
        ("major", "2.21.0", "3.0", True),
        ("major", "1.9", "not installed", True),
        ("minor", "2.21.0.1", "2.21.3.1", False),
        ("major", "2.21", "2.22", False),
        ("report", "2.21.0", "2.21.1", True),
        ("report", "2.21.0", "2.21.0", False),
        ("exact", "AMD x86_64 with AVX2", "AMD x86_64 with AVX2, BF16", True),
    ],
)
def test_grades(grade: str, recorded: str, present: str, expected: bool) -> None:
    """A grade says which numbers of two versions count."""
    assert is_different(grade, recorded, present) is expected


def test_policies() -> None:
    """The policy is `warn` by default, `report` differences are told only, and `ignore` tells nothing."""
    settings = {"python": "minor", "processor": "report", "new": "exact"}
    recorded, present = {"python": "3.10.1", "processor": "A"}, {"python": "3.11.1", "processor": "B", "new": "1"}
    found = {
        policy: [(item.name, item.policy) for item in differences({**settings, **policy_key}, recorded, present)]
        for policy, policy_key in (("", {}), *((name, {"policy": name}) for name in ("rerun", "ignore")))
    }
    assert found == {
        "": [("python", "warn"), ("processor", "report")],
        "rerun": [("python", "rerun"), ("processor", "report")],
        "ignore": [],
    }


def test_only_what_is_known_and_differs() -> None:
    """Equal versions, a name without a record and one without a present version are no difference."""
    settings = {"python": "exact", "numpy": "exact", "keras": "report", "jax": "exact"}
    recorded, present = (
        {"python": "3.11.1", "numpy": "2.1", "keras": "3"},
        {"python": "3.11.1", "keras": "3", "jax": "1"},
    )
    assert differences(settings, recorded, present) == []


def test_settings() -> None:
    """A missing section has no grades; a name is a text, and the reason about processors stands for them alone."""
    assert checked_settings(None) == ()
    assert checked_settings({"python": "minor", "processor": "exact"}) == (("python", "minor"), ("processor", "exact"))
    for content, end in (
        ({"": "minor"}, "name of a package"),
        ({"numpy": "nonsense"}, "exact, minor, major, report"),
        ({"processor": "nonsense"}, "exact, report"),
        ({"processor": "minor"}, "exact, report, since a processor has no version"),
    ):
        with pytest.raises(ValueError, match=f"{end}$"):
            checked_settings(content)


@pytest.mark.farm
def test_present_versions() -> None:
    """A version is that of a package, of the package of a module, or `not installed`; the processor has words."""
    assert present_version("pytest") == pytest.__version__
    assert present_version("_pytest") == pytest.__version__
    assert present_version("no-such-package") == "not installed"
    assert processor_class() and "flags" not in processor_class()


def test_settings_of_a_stage(toy: Toy) -> None:
    """The grades of a stage are added to those of the project and replace them; a stage of a pool has none."""
    toy.write({
        "execution.yaml": "environment: {python: minor, policy: rerun}\n"
        "stages: {a: {environment: {python: exact, numpy: major}}, b: {environment: {policy: ignore}}, c: {pool: p}}\n"
    })  # fmt: skip
    policies = load_policies(Path())
    assert policies.environment_of("a") == {"python": "exact", "policy": "rerun", "numpy": "major"}
    assert policies.environment_of("b") == {"python": "minor", "policy": "ignore"}
    assert policies.environment_of("c") == {}
    assert policies.without_pools().environment_of("c") == {"python": "minor", "policy": "rerun"}
    assert not Policies().names_environment


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("environment: {python: minr}", "environment: python: got 'minr', expected one of exact, .*mean 'minor'"),
        ("environment: {python: minor, policy: rerum}", "environment: policy: got 'rerum', .*did you mean 'rerun'"),
        ("environment: {processor: minor}", "processor: got 'minor', expected one of exact, report, since a processor"),
        ("environment: {python: minor, 3: exact}", "got the name 3, expected python, processor, policy or"),
        ("environment: {python: minor, numpy: 2.1}", "numpy: got 2.1, expected one of"),
        ("environment: {python: minor, numpy: [minor]}", "numpy: got .'minor'., expected one of"),
        (
            "stages: {a: {environment: minor, slots: 1}}",
            "a.environment: got 'minor', expected names with grades",
        ),
        ("enviroment: {python: minor}", "enviroment: unknown key; did you mean 'environment'"),
    ],
)
def test_mistakes(toy: Toy, text: str, message: str) -> None:
    """A mistake is one sentence with the key, the value and what is expected."""
    toy.write({"execution.yaml": f"{text}\n"})
    with pytest.raises(PolicyInvalid, match=message):
        load_policies(Path())


@pytest.mark.parametrize(
    "text", ["environment: {IMAGE: python, HOST: x}", "environment: prod", "stages: {build: {environment: {A: b}}}"]
)
def test_environment_of_another_program(toy: Toy, text: str) -> None:
    """A key `environment` without a grade of ours does not make execution.yaml ours."""
    toy.write({"execution.yaml": f"{text}\n"})
    assert load_policies(Path()) == Policies()
