"""The comparison of a retraining, as lines, as Markdown, and as checks."""

import pytest

from flows.retraining.comparison import Comparison, as_lines, as_markdown, checks, compare_with_commit
from tests.conftest import Toy


def test_what_cannot_be_compared(toy: Toy) -> None:
    """A project without models is not compared, and the text says why; nothing is an error."""
    comparison = compare_with_commit(toy.folder, "HEAD")
    assert comparison.headline.startswith("not compared: this project has no models") and checks(comparison) == []
    assert as_lines(comparison) == [f"Models: {comparison.headline}"]


def test_gates_become_checks() -> None:
    """Each kind of gate is one check over all models: failed with the first failure, or passed, or neither, if a model
    is not judged.
    """
    results = [("a", "lower", "passed"), ("b", "lower", "failed"), ("a", "gap", "not judged"), ("a", "ece", "passed")]
    results += [("a", "new", "passed"), ("b", "new", "not judged")]
    keys = ("model", "gate", "status")
    listed = [dict(zip(keys, item, strict=True)) | {"sentence": f"{item[0]} | <why>"} for item in results]
    comparison = Comparison(None, "no", {"passed": False, "note": None, "models": {}, "checks": listed})
    assert [(check.name, check.passed, check.sentence) for check in checks(comparison)] == [
        ("inkflow/lower", False, "1 of 2 models failed: b: b | <why>"),
        ("inkflow/gap", None, "not judged: a | <why>"),
        ("inkflow/ece", True, "1 of 1 models passed"),
        ("inkflow/new", None, "not judged (1 of 2 models): b | <why>"),
    ]
    assert "| b | lower | failed | b \\| &lt;why&gt; |" in as_markdown(comparison)


@pytest.mark.parametrize(("models", "heading"), [(1, "95% interval"), (2, "corrected interval")])
def test_intervals_have_their_name_and_sign(models: int, heading: str) -> None:
    """Intervals of several tests are at the levels of Holm's tests; one that excludes 0 is not rounded to hold it."""
    row = {"model": "a", "old": 0.97, "new": 0.9706, "difference": 0.0006, "low": 0.00003, "high": 0.0013}
    row |= {"corrected_p": 0.031, "verdict": "better"}
    comparison = Comparison({"headline": "x", "evidence": "y", "models": [row] * models}, "", None)
    text = as_markdown(comparison)
    assert f"| {heading} |" in text and "| +0.0006 | +0.00003 to +0.0013 |" in text
