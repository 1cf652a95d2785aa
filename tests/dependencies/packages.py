"""The packages of requirements.lock that are installed here, with their licences as SPDX expressions."""

import re
from collections import defaultdict
from functools import cache
from importlib import metadata
from typing import NamedTuple

from license_expression import (  # type: ignore[import-untyped]  # comes with pip-audit
    ExpressionError,
    get_spdx_licensing,
)

from tests.support.root import ROOT

LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)

# What older metadata write, as SPDX expressions.
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
}
# Packages whose metadata say nothing, too little or something else than their licence file, read by hand.
READ = {
    "atheris": "Apache-2.0",
    "axe-playwright-python": "MIT",
    "grandalf": "GPL-2.0-only OR EPL-1.0",
    "namex": "Apache-2.0",
    "pygit2": "GPL-2.0-only WITH GCC-exception-2.0",
    "text-unidecode": "Artistic-1.0-Perl OR GPL-2.0-or-later",
}
SPDX_LICENSING = get_spdx_licensing()  # built once: it takes half a second
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU",
    "PSF-2.0", "Python-2.0", "Unlicense", "ZPL-2.1", "Zlib",
}  # fmt: skip
# Licences with conditions on changes of the package itself, which this project does not make: why they are in order.
REVIEWED = {
    "Artistic-1.0-Perl": "chosen of the two licences; used unchanged",
    "EPL-1.0": "chosen of the two licences; its conditions hold for changes of the package itself",
    "EPL-2.0": "chosen of the two licences; its conditions hold for changes of the package itself",
    "GPL-2.0-only WITH GCC-exception-2.0": "the exception allows linking from programs under any licence",
    "MPL-2.0": "its conditions hold for changed files of the package",
}


class Package(NamedTuple):
    """An installed package of the lock; `licence` is an SPDX expression, or the text that is not one."""

    name: str
    version: str
    licence: str


@cache
def locked() -> dict[str, set[str]]:
    """The versions of each package of the lock, by its normalised name: several for different interpreters."""
    versions: dict[str, set[str]] = defaultdict(set)
    for name, version in PIN.findall(LOCK.read_text(encoding="utf-8")):
        versions[name].add(version)
    return versions


@cache
def installed() -> list[Package]:
    """The packages of the lock that are installed here, by name."""
    found = {normal(distribution.metadata["Name"]): distribution for distribution in metadata.distributions()}
    return [
        Package(name, found[name].version, READ.get(name) or licence(found[name].metadata))
        for name in sorted(locked())
        if name in found
    ]


def absent() -> list[str]:
    """The packages of the lock that are not installed here, since their marker excludes this system or Python."""
    return sorted(set(locked()) - {package.name for package in installed()})


def cuda_packages() -> list[str]:
    """The packages that the extra `gpu` adds: those of `tensorflow[and-cuda]`, as the installed TensorFlow states."""
    lines = metadata.requires("tensorflow") or []
    return sorted(re.split(r"[^\w.-]", line)[0] for line in lines if "and-cuda" in line)


def normal(name: str) -> str:
    """The name of a package as the lock writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(found: metadata.PackageMetadata) -> str:
    """The licence that the metadata of a package state: an expression, else classifiers, else the field of old."""
    if expressions := found.get_all("License-Expression"):
        return str(expressions[0])
    classifiers = [text.rpartition(" :: ")[2] for text in found.get_all("Classifier") or [] if "License ::" in text]
    field = [str(text).split("\n")[0].strip() for text in found.get_all("License") or [""]]
    stated = [text for text in classifiers if text in SPDX] or field
    return " OR ".join(dict.fromkeys(SPDX.get(text, text) for text in stated))


def refused(expression: str) -> list[str]:
    """The licences for which `expression` is not in order: all must be allowed, of alternatives one.

    An expression that SPDX does not know is refused as a whole.
    """
    try:
        parsed = SPDX_LICENSING.parse(expression, validate=True, strict=True)
    except ExpressionError:
        parsed = None
    return [expression or "none stated"] if parsed is None else _refused(parsed)


def _refused(expression: object) -> list[str]:
    parts = [] if type(expression).__name__ == "LicenseWithExceptionSymbol" else list(getattr(expression, "args", ()))
    if not parts:
        text = str(expression)
        return [] if text in PERMISSIVE or text in REVIEWED else [text]
    each = [_refused(part) for part in parts]
    if type(expression).__name__ == "OR":
        return min(each, key=len)
    return [text for part in each for text in part]
