"""`make audit ADVISORIES=FOLDER`: locked packages against advisories in a folder."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.base.errors import InvalidInput
from tests.dependencies.advisories import found, is_affected

FIXED = [{"introduced": "0"}, {"fixed": "1.10"}, {"introduced": "2.0rc1"}, {"last_affected": "2.2"}]


@pytest.mark.parametrize(
    ("version", "is_found"),
    [
        ("0.0b1", True),
        ("0.1", True),
        ("1.9", True),
        ("1.10", False),
        ("1.99", False),
        ("2.0rc1", True),
        ("2.2", True),
        ("2.2.1", False),
    ],
)
@pytest.mark.parametrize("events", [FIXED, FIXED[::-1]])
def test_ranges(events: list[dict[str, str]], version: str, is_found: bool) -> None:
    """A version is affected from `introduced` until before `fixed`, or including `last_affected`, in any order."""
    assert is_affected(_advisory(ranges=[{"type": "ECOSYSTEM", "events": events}]), "zope-i", version) is is_found


def test_what_else_says_that_a_version_is_affected() -> None:
    """Listed versions are; ranges of commits, other packages and withdrawn advisories say nothing."""
    assert is_affected(_advisory(versions=["1.0"]), "zope-i", "1.0")
    assert not is_affected(_advisory(versions=["1.0"]), "zope-i", "1.1")
    assert not is_affected(_advisory(versions=["1.0"]) | {"withdrawn": "2026-11-30"}, "zope-i", "1.0")
    assert not is_affected(_advisory(package={"name": "other"}, versions=["1.0"]), "zope-i", "1.0")
    assert not is_affected(_advisory(ranges=[{"type": "GIT", "events": [{"introduced": "0"}]}]), "zope-i", "1.0")


def test_a_sentence_for_each_locked_version(tmp_path: Path) -> None:
    """The sentence names package, version, identifiers and the fixed version; the date is the newest advisory's."""
    _write(tmp_path, _advisory(ranges=[{"type": "ECOSYSTEM", "events": FIXED}]))
    assert found(tmp_path, {"zope-i": {"1.9", "1.10"}}) == (["zope-i 1.9: PYSEC-1, CVE-1; fixed in 1.10"], "2026-11-30")
    assert found(tmp_path, {"zope-i": {"3"}}) == ([], "2026-11-30")


def test_a_folder_without_advisories(tmp_path: Path) -> None:
    """A wrong folder is refused: it would say that nothing was found."""
    _write(tmp_path, _advisory())
    with pytest.raises(InvalidInput, match=r"no file vulns/PACKAGE/ID\.yaml of a locked package: give a clone"):
        found(tmp_path, {"another": {"1"}})


@pytest.mark.parametrize(
    "content",
    ["", "- 1", "{", "id: X", "{id: X, modified: 2026-11-30, affected: [{ranges: [{type: ECOSYSTEM, events: [1]}]}]}"],
)
def test_an_advisory_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    """One sentence names the file."""
    path = _write(tmp_path, _advisory())
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"PYSEC-1\.yaml is no advisory in OSV's form: .*; get the folder again"):
        found(tmp_path, {"zope-i": {"1"}})


def _advisory(**affected: Any) -> dict[str, Any]:
    about = {"id": "PYSEC-1", "aliases": ["CVE-1"], "modified": "2026-11-30T10:00:00Z"}
    return about | {"affected": [{"package": {"ecosystem": "PyPI", "name": "Zope.I"}} | affected]}


def _write(folder: Path, advisory: dict[str, Any]) -> Path:
    path = folder / "vulns" / "zope-i" / "PYSEC-1.yaml"
    path.parent.mkdir(parents=True)
    YAML(typ="safe").dump(advisory, path)
    return path
