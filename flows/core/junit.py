"""JUnit XML, the format in which CI services read test results."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from flows.core.redaction import mask

Outcome = Literal["passed", "failure", "skipped"]


class JUnitCase(NamedTuple):
    """One test case; the message belongs to a failed or skipped one."""

    classname: str
    name: str
    outcome: Outcome
    message: str


def junit_xml(suite: str, cases: Sequence[JUnitCase]) -> str:
    """Returns the test suite `suite` with its cases as JUnit XML, masked: control characters are no XML either."""
    counts = Counter(case.outcome for case in cases)
    root = ElementTree.Element("testsuite", {
        "name": suite, "tests": str(len(cases)), "failures": str(counts["failure"]),
        "skipped": str(counts["skipped"]), "errors": "0",
    })  # fmt: skip
    for case in cases:
        case = JUnitCase(mask(case.classname), mask(case.name), case.outcome, mask(case.message))
        element = ElementTree.SubElement(root, "testcase", {"classname": case.classname, "name": case.name})
        if case.outcome != "passed":
            ElementTree.SubElement(element, case.outcome, {"message": case.message})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
