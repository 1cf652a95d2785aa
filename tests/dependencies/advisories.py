"""Compares the locked packages with a folder of advisories, without a network.

`python -m tests.dependencies.advisories FOLDER` reads a clone of https://github.com/pypa/advisory-database, whose files
`vulns/PACKAGE/ID.yaml` have the form of https://ossf.github.io/osv-schema. It prints each advisory for a locked version
and ends with 1, or says what was compared.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.base.errors import InvalidInput, exit_with
from tests.dependencies.packages import locked, normal

DATE = slice(10)  # of a time as text: 2026-11-30
FIRST = Version("0.dev0")  # what the schema writes as 0: before every other version


def found(folder: Path, packages: Mapping[str, set[str]]) -> tuple[list[str], str]:
    """Returns a sentence for each advisory in `folder` for a version in `packages`, and the newest advisory's date.

    Args:
        folder: has `vulns/PACKAGE/ID.yaml`.
        packages: versions by normalised name.

    Raises:
        InvalidInput: `folder` has no advisories, or one of these packages' cannot be read.
    """
    sentences, newest = [], ""
    for path in sorted(folder.glob("vulns/*/*.yaml")):
        name = normal(path.parent.name)
        if name not in packages:
            continue
        advisory = _read(path)
        newest = max(newest, str(advisory["modified"])[DATE])
        versions = sorted(version for version in packages[name] if is_affected(advisory, name, version))
        aliases = ", ".join([advisory["id"], *advisory.get("aliases", [])])
        sentences += [f"{name} {version}: {aliases}; fixed in {_fixed(advisory, name)}" for version in versions]
    if not newest:
        sentence = (
            f"{folder} has no file vulns/PACKAGE/ID.yaml of a locked package: give a clone of pypa/advisory-database"
        )
        raise InvalidInput(sentence)
    return sentences, newest


def is_affected(advisory: Mapping[str, Any], name: str, version: str) -> bool:
    """Whether an advisory that is not withdrawn lists this version, or has it in a range of versions."""
    if "withdrawn" in advisory:
        return False
    return any(
        version in map(str, affected.get("versions", ()))
        or any(_is_within(events, Version(version)) for events in _ranges(affected))
        for affected in _affected(advisory, name)
    )


def _is_within(events: Sequence[Mapping[str, Any]], version: Version) -> bool:
    """Applies the events in the order of their versions, as the schema says: the last one at or before it decides."""
    is_within = False
    for bound, event in sorted(((_bound(event), event) for event in events), key=lambda found: found[0]):
        if bound < version or (bound == version and "last_affected" not in event):
            is_within = "introduced" in event
    return is_within


def _bound(event: Mapping[str, Any]) -> Version:
    [text] = event.values()
    return FIRST if text == "0" else Version(str(text))


def _ranges(affected: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    return (found["events"] for found in affected.get("ranges", ()) if found["type"] == "ECOSYSTEM")


def _affected(advisory: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    return (one for one in advisory["affected"] if normal(one["package"]["name"]) == name)


def _fixed(advisory: Mapping[str, Any], name: str) -> str:
    events = [event for one in _affected(advisory, name) for events in _ranges(one) for event in events]
    return ", ".join(str(event["fixed"]) for event in events if "fixed" in event) or "no version"


def _read(path: Path) -> dict[str, Any]:
    try:
        advisory: dict[str, Any] = YAML(typ="safe").load(path)
        for events in (events for one in advisory["affected"] for events in _ranges(one)):
            any(_bound(event) < FIRST for event in events)
        return advisory | {name: str(advisory[name]) for name in ("id", "modified")}
    except (OSError, YAMLError, AttributeError, InvalidVersion, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise InvalidInput(f"{path} is no advisory in OSV's form: {reason}; get the folder again") from None


def main() -> int:
    """Prints what was found; returns 1 when something was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a clone of pypa/advisory-database")
    sentences, newest = found(parser.parse_args().folder, locked())
    for sentence in sentences:
        print(sentence)
    print(f"{len(locked())} locked packages, advisories until {newest}: {len(sentences)} found")
    return int(bool(sentences))


if __name__ == "__main__":
    sys.exit(exit_with(main))
