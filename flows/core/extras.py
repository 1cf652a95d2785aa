"""Explains which optional packages of Inkflow are missing."""

import re
from importlib.metadata import PackageNotFoundError, requires

from stages.base.errors import InvalidInput

# Where the import has another name:
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "vl_convert": "vl-convert-python"}
REQUIREMENT = re.compile(r"^([\w-]+).*;\s*extra\s*==\s*[\"'](\w+)[\"']")


class MissingPackage(InvalidInput):
    """A package is missing that an extra of Inkflow installs."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"this needs the package {module}, which is not installed; pip install 'inkflow[{extra}]'")


def missing_package(module: str) -> MissingPackage | None:
    """Returns the error for the missing `module`; None if no extra of Inkflow installs it."""
    top = module.partition(".")[0]
    try:
        matches = map(REQUIREMENT.match, requires("inkflow") or ())
    except PackageNotFoundError:  # runs from a folder that is not installed
        return None
    extras = {match[1]: match[2] for match in reversed([match for match in matches if match])}
    extra = extras.get(DISTRIBUTIONS.get(top, top))
    return MissingPackage(top, extra) if extra else None
