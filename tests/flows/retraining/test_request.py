"""The words of a retraining: the commit, and the request for it."""

import pytest

from flows.retraining.comparison import Comparison
from flows.retraining.request import Retraining


@pytest.mark.parametrize(
    ("folder", "title"),
    [
        ("", "Retrain on new data of mnist"),
        ("a/ocr/", "Retrain on new data of mnist in a/ocr/"),
        ("a\n\x1b[2J/", "Retrain on new data of mnist in a\\n/"),
    ],
)
def test_the_title_names_the_project_of_a_repository_with_several(folder: str, title: str) -> None:
    """The title has the project's folder, unless that is the repository's; it is one line."""
    gates: dict[str, object] = {"passed": True, "note": None, "models": {}, "checks": []}
    done = Retraining("mnist", folder, "x_train changed", Comparison(None, "not compared", gates))
    assert done.title == title
    assert done.commit_message.split("\n")[0] == title
