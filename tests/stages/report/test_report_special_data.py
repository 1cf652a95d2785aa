"""What the report says where the data are special: weighted."""

from pathlib import Path

import numpy as np

from stages.data.datasets import describe, read_dataset, read_description, write_dataset
from stages.report.page.screen import has_diverged
from tests.stages.report.test_report_screen import facts_of, with_losses
from tests.support.report_shapes import shaped_run


def test_weights_are_no_divergence(tmp_path: Path) -> None:
    """The training loss of a weighted data set is large: its mean weight is a part of what diverges."""
    run = shaped_run(tmp_path, 2, 10)
    with_losses(run, "model_01", 5000.0, 0.5)
    facts = facts_of(run)
    assert {model.name: has_diverged(model, facts.data) for model in facts.models}["model_01"]
    raw = run.root / "data/raw"
    arrays = read_dataset(raw / "dataset.npz")
    arrays = arrays._replace(w_train=np.full(len(arrays.y_train), 10, np.float32))
    infos = describe("digits", run.params.dataset_params, arrays).arrays
    write_dataset(raw, arrays, read_description(raw / "dataset.json").model_copy(update={"arrays": infos}))
    weighted = facts_of(run)
    assert [has_diverged(model, weighted.data) for model in weighted.models] == [False, False]
