"""Supply chain: licences of all locked packages, the bill of materials, actions and images by digest."""

import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from ruamel.yaml import YAML

from tests.dependencies import document
from tests.dependencies.packages import REVIEWED, cuda_packages, installed, locked, refused
from tests.support.root import ROOT

USES = re.compile(r"^\s*(?:- )?(?:uses|image): *(\S+)|^FROM +(\S+)", re.MULTILINE)


def test_every_locked_package_has_a_licence_that_is_in_order() -> None:
    """Permissive, or looked at with a reason; one that is not known stops the build."""
    assert {f"{package.name}: {package.licence}" for package in installed() if refused(package.licence)} == set()


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("GPL-3.0-only", ["GPL-3.0-only"]),
        ("MIT AND GPL-2.0-or-later", ["GPL-2.0-or-later"]),
        ("MIT OR GPL-2.0-or-later", []),
        ("GPL-2.0-only", ["GPL-2.0-only"]),
        ("GPL-2.0-only WITH GCC-exception-2.0", []),
        ("(MIT OR AGPL-3.0-only) AND AGPL-3.0-only", ["AGPL-3.0-only"]),
        ("our own", ["our own"]),
        ("", ["none stated"]),
    ],
)
def test_a_licence_with_other_conditions_is_refused(expression: str, wrong: list[str]) -> None:
    """All parts of an AND must be allowed, of an OR one; what SPDX does not know is refused."""
    assert refused(expression) == wrong


def test_every_reviewed_licence_is_still_used() -> None:
    """A reason does not outlive its package."""
    used = " ".join(package.licence for package in installed())
    assert [name for name in REVIEWED if name not in used] == []


def test_the_bill_of_materials_is_valid_and_whole() -> None:
    """It follows CycloneDX's schema and names each installed package of the lock with the locked version."""
    text = document.bill()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {entry["name"]: entry["version"] for entry in json.loads(text)["components"]}
    assert components == {package.name: package.version for package in installed()}
    assert {name: version for name, version in components.items() if version not in locked()[name]} == {}


def test_the_page_of_licences_is_what_the_lock_says() -> None:
    """docs/dependencies.md is generated, and current."""
    assert (ROOT / document.PAGE).read_text(encoding="utf-8") == document.page()


def test_the_page_names_what_no_check_sees() -> None:
    """Each locked package is in a table or named as not installed; those of the extra `gpu` are named, not locked."""
    text = document.page()
    gpu = text[text.index("## The extra `gpu`") : text.index("## Licences with")]
    assert {"nvidia-cudnn-cu12", "nvidia-nccl-cu12"} <= set(cuda_packages())
    assert [name for name in cuda_packages() if f"`{name}`" not in gpu or name in locked()] == []
    tables = text[text.index("## All packages") :]
    assert [name for name in locked() if not re.search(rf"(?<![\w-]){name}(?![\w-])", tables)] == []
    assert "`pywin32`" in tables


@pytest.mark.parametrize("name", [".github/workflows/audit.yml", ".gitlab-ci.yml"])
def test_the_audit_runs_without_a_change_too(name: str) -> None:
    """A schedule starts the audit on GitHub and on GitLab: vulnerabilities become known after a merge."""
    content = YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))
    if name.endswith("gitlab-ci.yml"):
        job = content["audit"]
        assert [rule["if"] for rule in job["rules"]] == ['$CI_PIPELINE_SOURCE == "schedule" && $INKFLOW_AUDIT']
        assert job["script"] == ["make bill audit"]
    else:
        assert len(content["on"]["schedule"]) == 1
        assert "make bill audit" in [step.get("run") for step in content["jobs"]["audit"]["steps"]]


@pytest.mark.parametrize(
    "path",
    [
        *sorted(ROOT.glob(".github/workflows/*.yml")), ROOT / ".gitlab-ci.yml", ROOT / "Dockerfile",
        *sorted(ROOT.glob("templates/*/*.yml")),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)  # fmt: skip
def test_actions_and_images_are_named_by_digest(path: Path) -> None:
    """What CI and images start from cannot change behind a name; stages of the same Dockerfile have names."""
    text = path.read_text(encoding="utf-8")
    stages = set(re.findall(r"^FROM .* AS (\S+)", text, re.MULTILINE | re.IGNORECASE))
    found = [name for pair in USES.findall(text) for name in pair if name and name not in stages]
    local = [name for name in found if name.startswith("./")]
    assert [name for name in found if name not in local and not re.search(r"@(sha256:)?[0-9a-f]{40,64}$", name)] == []


@pytest.mark.parametrize("name", ["Dockerfile", ".ci/setup", ".ci/archives", ".ci/newest"])
def test_installed_packages_are_compiled(name: str) -> None:
    """Else each process compiles what it imports where bytecode cannot be written, such as in the image."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"uv\"? pip (?:sync|install) [^\n;&|]*", text)
    packages = [command for command in commands if "--no-deps" not in command]
    assert packages
    assert [command for command in packages if "--compile-bytecode" not in command] == []
