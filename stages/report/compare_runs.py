"""Compare two runs of the pipeline, model by model, on the same test images: a page, and the table as JSON.

python -m stages.report.compare_runs --old main=FOLDER --new workspace=FOLDER --out FOLDER
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages.base.errors import EXIT_DONE, DataError, InvalidInput, exit_with
from stages.base.files import write_text
from stages.report import model_comparison
from stages.report.config import load_report_params
from stages.report.facts import Facts, Folders, arrange, gather_facts
from stages.report.model_facts import ModelFacts, Trained, ValueFacts
from stages.report.page.page import render_page
from stages.report.statistics.paired_tests import Pair, compare, compare_values, corrected


class Side(NamedTuple):
    """One of the two runs: what people call it, and where its files are."""

    name: str
    root: Path


class Comparison(NamedTuple):
    """Both runs' models side by side, and each model that both have against itself."""

    facts: Facts
    changes: tuple[Pair, ...]  # the new version first
    models: tuple[str, ...]  # those of `changes`
    unchanged: tuple[str, ...]  # the same bytes and answers in both runs: nothing to test

    @property
    def verdict(self) -> model_comparison.Verdict:
        """What became better or worse, in verdicts."""
        return model_comparison.changed(self.models, self.changes, self.unchanged)


def compare_runs(old: Side, new: Side) -> Comparison:
    """Both runs in one set of facts; models are called `name@side`, unchanged ones `name`, once.

    Raises:
        InvalidInput: a file is missing or broken, or the runs were examined on different test images.
    """
    before, after = _facts_of(old), _facts_of(new)
    same = np.array_equal(before.data.arrays.x_test, after.data.arrays.x_test)
    if not same or not np.array_equal(before.data.arrays.y_test, after.data.arrays.y_test):
        raise DataError(
            f"{old.name} was examined on {before.data.description.name}, {new.name} on {after.data.description.name}: "
            "other test images; only scores on the same ones can be compared"
        )
    olds, news = ({model.name: model for model in facts.models} for facts in (before, after))
    same_models = tuple(name for name in news if name in olds and _unchanged(news[name], olds[name]))
    both = tuple(name for name in news if name in olds and name not in same_models)
    pairs = [_pair(_called(news[name], new), _called(olds[name], old)) for name in both]
    found = [(name, pair) for name, pair in zip(both, pairs, strict=True) if pair]
    models = [_called(model, side) for side, run in ((new, news), (old, olds)) for model in run.values()
              if model.name not in same_models]  # fmt: skip
    facts = arrange([*models, *(news[name] for name in same_models)], after.data, after.settings)
    return Comparison(facts, corrected([pair for _, pair in found]), tuple(name for name, _ in found), same_models)


def _facts_of(side: Side) -> Facts:
    return gather_facts(load_report_params(side.root / "params.yaml"), Folders.below(side.root))


def _called(model: Trained, side: Side) -> Trained:
    return replace(model, name=f"{model.name}@{side.name}")


def _unchanged(new: Trained, old: Trained) -> bool:
    return new.onnx.sha256 == old.onnx.sha256 and new.predictions.equals(old.predictions)


def _pair(new: Trained, old: Trained) -> Pair | None:
    if isinstance(new, ModelFacts) and isinstance(old, ModelFacts) and np.array_equal(new.labels, old.labels):
        return compare(new, old)
    if isinstance(new, ValueFacts) and isinstance(old, ValueFacts) and np.array_equal(new.labels, old.labels):
        return compare_values(new, old)
    return None


def record(comparison: Comparison) -> dict[str, Any]:
    """The comparison for programs and terminals: scores are accuracies or mean absolute errors."""
    scores = {model.name: _score(model) for model in comparison.facts.models}
    rows = [
        {
            "model": name,
            "old": scores[pair.second],
            "new": scores[pair.first],
            "difference": pair.difference,
            "low": pair.interval.low,
            "high": pair.interval.high,
            "p": pair.p,
            "corrected_p": pair.corrected_p,
            "verdict": model_comparison.change(pair),
        }
        for name, pair in zip(comparison.models, comparison.changes, strict=True)
    ]
    paired = {name for pair in comparison.changes for name in (pair.first, pair.second)}
    headline, evidence = comparison.verdict
    return {
        "headline": headline,
        "evidence": evidence,
        "models": rows,
        "unchanged": list(comparison.unchanged),
        "without_counterpart": sorted(set(scores) - paired - set(comparison.unchanged)),
    }


def _score(model: Trained) -> float:
    if isinstance(model, ModelFacts):
        return model.exam.accuracy
    assert isinstance(model, ValueFacts)  # there is no third kind
    return model.mean_error


def _side(text: str) -> Side:
    name, equals, folder = text.rpartition("=")
    if not (name and equals and folder):
        raise InvalidInput(f"{text}: expected NAME=FOLDER")
    return Side(name, Path(folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare two runs, model by model, on the same test images."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.compare_runs", description=main.__doc__)
    parser.add_argument("--old", required=True, metavar="NAME=FOLDER", help="the earlier run")
    parser.add_argument("--new", required=True, metavar="NAME=FOLDER", help="the later run")
    parser.add_argument("--out", type=Path, required=True, help="folder to write index.html and compare.json to")
    given = parser.parse_args(argv)
    found = compare_runs(_side(given.old), _side(given.new))
    page = render_page(found.facts, None, "comparison", found.verdict, found.changes)
    write_text(given.out / "index.html", page)
    write_text(given.out / "compare.json", json.dumps(record(found), indent=2, ensure_ascii=False) + "\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
