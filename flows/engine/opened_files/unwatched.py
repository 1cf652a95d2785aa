"""Finds commands that keep Python from loading the hook which notes what it opens."""

import re
from collections.abc import Sequence

START = r"(?:^|[\s;&|(`\"'])"
OPTIONS = r"(?:\s+-[WX]\s*\S+|\s+-[bBdiOPqRsuvx]+)*"  # of Python, before the one that is looked for
VALUE = r"(?:\"[^\"]*\"|'[^']*'|\$\([^)]*\)|[^\s;&|\"'])*"
REASONS = {
    "sets PYTHONPATH": re.compile(rf"{START}PYTHONPATH=(?!{VALUE}(?:\"[^\"]*)?\$\{{?PYTHONPATH\b)"),
    "unsets PYTHONPATH": re.compile(rf"{START}(?:unset|env\s.*(?:-u|--unset))[\s=]+(?:\w+\s+)*PYTHONPATH\b"),
    "empties the environment": re.compile(rf"{START}env\s+(?:-\S+\s+)*(?:-i|--ignore-environment|-)\s"),
    "starts Python with -E, -I or -S": re.compile(
        rf"{START}(?:\S*/)?(?:python|pypy)[\d.]*{OPTIONS}\s+-[bBdiOPqRsuvx]*[EIS]"
    ),
}


def unwatched(lines: Sequence[str]) -> str:
    """Returns how the shell lines of a stage keep a Python process from the hook; empty if none of them is known to."""
    return next((reason for reason, form in REASONS.items() if any(map(form.search, lines))), "")
