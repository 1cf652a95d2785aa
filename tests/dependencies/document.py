"""Writes docs/dependencies.md, the licences of all locked packages, or a software bill of materials (CycloneDX 1.6).

`python -m tests.dependencies.document` writes the page; with `--check` it writes nothing and fails when it is stale;
with `--bill PATH` it writes the bill of what is installed.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from stages.base.errors import InvalidInput, exit_with
from stages.base.files import write_text
from tests.dependencies.packages import READ, REVIEWED, Package, absent, cuda_packages, installed
from tests.support.root import ROOT

PAGE = Path("docs/dependencies.md")
HEAD = """# Dependencies and their licences

`make licences` writes this page from requirements.lock and the metadata of the installed packages, the tools of
development and all extras except `gpu` included; a test fails where a package has a licence that nobody has looked at.
`make audit` compares the lock with the known vulnerabilities, `make bill` writes a software bill of materials
(CycloneDX 1.6). CI runs both and keeps the bill; the audit also runs each week, since vulnerabilities become known
without a change here. Versions are those of requirements.lock, with hashes; actions and images of CI are named by
digest.

`make audit` asks PyPI's advisory service and needs the network; its result is not on this page, but in the CI job
`dependencies`. Without a network, `make audit ADVISORIES=FOLDER` reads a clone of
https://github.com/pypa/advisory-database, and `make bill` lists all packages for other scanners.

Inkflow's own licence is Apache-2.0. Packages are installed from their index, unchanged; none is copied into this
project.

"""
GPU = """The extra `gpu` is in no lock, and so in no table, check of licences, bill or audit here. Its
`tensorflow[and-cuda]` installs packages of NVIDIA, of the newest versions that fit. They are proprietary for the most
part, under NVIDIA's licence agreements, and nobody has looked at these for this project: read them before you install
the extra or pass an image with it on. The packages"""


def page() -> str:
    """The whole page."""
    by_licence: dict[str, list[Package]] = defaultdict(list)
    for package in installed():
        by_licence[package.licence].append(package)
    order = sorted(by_licence, key=lambda licence: (-len(by_licence[licence]), licence))
    rows = [f"| {licence} | {len(by_licence[licence])} | {_names(by_licence[licence])} |" for licence in order]
    conditions = [f"| {licence} | {_named(licence)} | {reason} |" for licence, reason in REVIEWED.items()]
    return "\n".join(
        [
            f"{HEAD}## The extra `gpu`\n",
            f"{GPU}: {', '.join(f'`{name}`' for name in cuda_packages())}.\n",
            "## Licences with conditions\n",
            "| licence | packages | why it is in order |",
            "|---|---|---|",
            *conditions,
            "\n## All packages\n",
            f"The metadata of {_list([f'`{name}`' for name in READ])} are incomplete: their licence files were read.\n",
            f"{_list([f'`{name}`' for name in absent()])} are locked for other systems or versions of Python and not "
            "installed: their licences were not checked, and neither bill nor audit has them.\n",
            "| licence | number | packages |",
            "|---|---:|---|",
            *rows,
            "",
        ]
    )


def bill() -> str:
    """The bill of materials as JSON."""
    licences = LicenseFactory()
    components = [
        Component(
            type=ComponentType.LIBRARY,
            name=package.name,
            version=package.version,
            purl=PackageURL("pypi", None, package.name, package.version),
            bom_ref=f"{package.name}=={package.version}",
            licenses=[licences.make_from_string(package.licence)],
        )
        for package in installed()
    ]
    found = Bom(components=components)
    found.metadata.component = Component(type=ComponentType.APPLICATION, name="inkflow", bom_ref="inkflow")
    found.register_dependency(found.metadata.component, components)
    return str(JsonV1Dot6(found).output_as_string(indent=2)) + "\n"


def _names(packages: list[Package]) -> str:
    return ", ".join(package.name for package in packages)


def _named(licence: str) -> str:
    return _names([package for package in installed() if licence in package.licence])


def _list(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def main() -> int:
    """Writes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is stale")
    parser.add_argument("--bill", type=Path, metavar="PATH", help="write the bill of materials there instead")
    given = parser.parse_args()
    if given.bill:
        write_text(given.bill, bill())
    elif not given.check:
        write_text(ROOT / PAGE, page())
    elif (ROOT / PAGE).read_text(encoding="utf-8") != page():
        raise InvalidInput(f"{PAGE} is not what requirements.lock says; run `make licences`")
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
