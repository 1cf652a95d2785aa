"""The finished run that many tests of the report read."""

import pytest

from stages.report import report
from tests.support.report_data import HIDDEN_LAYERS, Run, finish_run, small_digits


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with digits, three models and a report; read-only."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), HIDDEN_LAYERS)
    assert report.main(run.arguments()) == 0
    return run
