"""Compare two versions of the project model by model, on the same test images: a page, and the table as JSON.

python -m stages.report.compare_runs --old main=FOLDER --new workspace=FOLDER --out FOLDER
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from stages.base.config import check_section, read_yaml
from stages.base.errors import EXIT_DONE, DataError, InvalidInput, exit_with
from stages.base.files import write_text
from stages.report.comparability import SPLIT
from stages.report.config import load_report_params
from stages.report.facts import Facts, arrange
from stages.report.formats import enumerate_words
from stages.report.gather import Folders, gather_facts
from stages.report.model_comparison import Verdict, version_verdict, versions_verdict
from stages.report.models.model_facts import ModelFacts
from stages.report.models.pairs import Pair, compare, corrected
from stages.report.page.page import render_page
from stages.report.page.version_params import ChangedParams, changed_params


class Version(NamedTuple):
    """A version of the project: its name on the page, and the folder of its run."""

    name: str
    root: Path


class Comparison(NamedTuple):
    """The models of two versions, the tests of each model's new version against its old one, and what else changed."""

    facts: Facts
    changes: Mapping[str, Pair]  # by model, the new version first
    unchanged: tuple[str, ...]  # models with the same bytes and predictions, which need no test
    params: ChangedParams
    untested: tuple[str, ...] = ()  # models that both versions have with different tasks or targets

    @property
    def verdict(self) -> Verdict:
        """The models that became better or worse."""
        return versions_verdict(self.changes, self.unchanged, self.untested)


def compare_runs(old: Version, new: Version) -> Comparison:
    """Compares two versions; changed models are named `name@version`, unchanged ones `name` and listed once.

    Raises:
        InvalidInput: a file is missing or broken, or the versions were evaluated on different test images.
    """
    old_facts, new_facts = _facts(old), _facts(new)
    if not new_facts.data.has_same_test_part(old_facts.data):
        samples = f"test {new_facts.data.description.noun}s"
        raise DataError(
            f"{old.name} was evaluated on {old_facts.data.description.name}, {new.name} on "
            f"{new_facts.data.description.name}: the {samples} differ, expected the same {samples} in both versions"
        )
    old_models, new_models = ({model.name: model for model in facts.models} for facts in (old_facts, new_facts))
    unchanged = tuple(name for name in new_models if name in old_models and _same(new_models[name], old_models[name]))
    new_changed, old_changed = _rename(new_models, new, unchanged), _rename(old_models, old, unchanged)
    pairs = {
        name: pair
        for name, model in new_changed.items()
        if name in old_changed and (pair := compare(model, old_changed[name]))
    }
    models = [*new_changed.values(), *old_changed.values(), *(new_models[name] for name in unchanged)]
    same_training_part = new_facts.data.has_same_training_part(old_facts.data)
    incomparable = other_validation_samples(old, new, same_training_part=same_training_part)
    facts = arrange(models, new_facts.data, new_facts.params, incomparable)
    changes = dict(zip(pairs, corrected(list(pairs.values())), strict=True))
    params = ChangedParams(old.name, new.name, changed_params(old.root, new.root))
    untested = tuple(name for name in new_changed if name in old_changed and name not in pairs)
    return Comparison(facts, changes, unchanged, params, untested)


def _facts(version: Version) -> Facts:
    return gather_facts(load_report_params(version.root / "params.yaml"), Folders.of_project(version.root))


def other_validation_samples(old: Version, new: Version, *, same_training_part: bool) -> str:
    """Returns why validation scores of the two versions cannot be compared, as a clause; empty if they can."""
    before, after = _split(old), _split(new)
    differing = [key for key in SPLIT if before[key] != after[key]]
    if not differing and not same_training_part:
        differing = ["the training data"]
    if not differing:
        return ""
    verb = "differs" if differing[0] in SPLIT and len(differing) == 1 else "differ"
    what = f"{enumerate_words(differing)} {verb}"
    return f"the validation scores of {old.name} and {new.name} are of different samples, since {what}"


def _split(version: Version) -> dict[str, Any]:
    """Returns the parameters that choose the validation samples of a version."""
    path = version.root / "params.yaml"
    content = read_yaml(path)
    section = check_section(content, ["prepare"], dict[str, Any], path) if "prepare" in content else {}
    return {key: section.get(key.removeprefix("prepare."), default) for key, default in SPLIT.items()}


def _rename(models: Mapping[str, ModelFacts], version: Version, unchanged: Sequence[str]) -> dict[str, ModelFacts]:
    """Returns the changed models with the version in their names, by their original names."""
    changed = {name: model for name, model in models.items() if name not in unchanged}
    return {name: replace(model, name=f"{name}@{version.name}") for name, model in changed.items()}


def _same(new: ModelFacts, old: ModelFacts) -> bool:
    return new.onnx.sha256 == old.onnx.sha256 and new.predictions.equals(old.predictions)


def record(comparison: Comparison) -> dict[str, Any]:
    """Returns the content of compare.json; scores are accuracies or mean absolute errors."""
    rows = [
        {
            "model": name,
            "old": pair.second.score,
            "new": pair.first.score,
            "difference": pair.test.difference,
            "low": pair.test.interval.low,
            "high": pair.test.interval.high,
            "p": pair.test.p,
            "corrected_p": pair.corrected_p,
            "verdict": version_verdict(pair),
        }
        for name, pair in comparison.changes.items()
    ]
    paired = {model.name for pair in comparison.changes.values() for model in (pair.first, pair.second)}
    names = {model.name for model in comparison.facts.models}
    headline, evidence = comparison.verdict
    return {
        "headline": headline,
        "evidence": evidence,
        "parameters": [row._asdict() for row in comparison.params.rows],
        "models": rows,
        "trivial": [
            {"answer": group.trivial.answer, "score": group.trivial.score, "of": [model.name for model in group.models]}
            for group in comparison.facts.groups
        ],
        "unchanged": list(comparison.unchanged),
        "without_counterpart": sorted(names - paired - set(comparison.unchanged)),
    }


def _parse_version(text: str) -> Version:
    name, equals, folder = text.rpartition("=")
    if not (name and equals and folder):
        raise InvalidInput(f"{text}: expected NAME=FOLDER")
    return Version(name, Path(folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare two versions of the project model by model, on the same test images."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.compare_runs", description=main.__doc__)
    parser.add_argument("--old", required=True, metavar="NAME=FOLDER", help="the older version")
    parser.add_argument("--new", required=True, metavar="NAME=FOLDER", help="the newer version")
    parser.add_argument("--out", type=Path, required=True, help="folder of the outputs index.html and compare.json")
    arguments = parser.parse_args(argv)
    comparison = compare_runs(_parse_version(arguments.old), _parse_version(arguments.new))
    changes = list(comparison.changes.values())
    page = render_page(comparison.facts, None, "comparison", comparison.verdict, changes, params=comparison.params)
    write_text(arguments.out / "index.html", page)
    content = json.dumps(record(comparison), indent=2, ensure_ascii=False)
    write_text(arguments.out / "compare.json", content + "\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
