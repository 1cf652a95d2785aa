"""Samples reach the device in the order that was asked for, whole or in turn, and the files stay out of memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.samples.npy_reader import Stored, aligned
from tests.support.learning import Folders, make_model, write_data

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import batches, fit, networks  # noqa: E402  (import Keras)
from stages.train.backends.backend import load_backend  # noqa: E402  (the same)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Prepared patterns."""
    return write_data(tmp_path_factory.mktemp("feeding"))


@pytest.mark.parametrize(("samples", "shapes"), [(7, [(2, 2), (1, 2), (1, 1)]), (8, [(2, 2), (2, 2)]), (1, [(1, 1)])])
def test_order_is_cut_without_loss(samples: int, shapes: list[tuple[int, int]]) -> None:
    """Pieces of at most so many whole batches, then the smaller batch that is left."""
    pieces = list(batches.cut(np.arange(samples), size=2, steps=2))
    assert [piece.shape for piece in pieces] == shapes
    assert np.concatenate([piece.ravel() for piece in pieces]).tolist() == list(range(samples))


@pytest.mark.parametrize("rows", [[3, 0, 3], slice(1, 4), slice(None)], ids=str)
def test_stored_rows_are_those_of_the_array(tmp_path: Path, rows: Any) -> None:
    """Reading rows gives what indexing the array gives."""
    array = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    stored = Stored(tmp_path / "a.npy")
    found = stored[rows if isinstance(rows, slice) else np.array(rows)]
    assert found.tobytes() == np.ascontiguousarray(array[rows]).tobytes()
    assert (len(stored), stored.shape, stored.nbytes) == (5, (5, 2, 3), array.nbytes)


def test_rows_in_fortran_order_are_refused(tmp_path: Path) -> None:
    """An array whose rows do not lie one after another is not read wrongly."""
    np.save(tmp_path / "a.npy", np.asfortranarray(np.zeros((3, 4), np.float32)))
    with pytest.raises(ValueError, match="rows that lie one after another"):
        Stored(tmp_path / "a.npy")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX copies what it gets")
def test_what_is_read_is_not_copied(tmp_path: Path) -> None:
    """TensorFlow computes on the memory that a file was read into; other memory, which it cannot use so, is copied."""
    np.save(tmp_path / "a.npy", np.arange(24, dtype=np.float32).reshape(6, 4))
    read = Stored(tmp_path / "a.npy")[:]
    crooked = aligned((7, 4), read.dtype)[1:]
    crooked[:] = read
    tensors = load_backend().make_loop(None).hold([read, crooked])
    assert [tensor.numpy().tolist() for tensor in tensors] == [read.tolist()] * 2
    read[0, 0] = crooked[0, 0] = 100
    assert [float(tensor[0, 0]) for tensor in tensors] == [100, 0]


@pytest.mark.parametrize("changes", [{}, {"loss": "categorical_crossentropy", "balance": True}], ids=str)
def test_streaming_changes_nothing(folders: Folders, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    """Data too large for the device, read in turn, gives the same weights and history to the bit."""

    def learn() -> tuple[list[Any], Any]:
        model, data = make_model("cnn", dropout=0.2, **changes), folders.data
        network = networks.build(model, data.prepared.shape, 4)
        fit.compile_network(network, model, len(data.train.labels))
        history = fit.fit(network, data, "tried", model).history
        return network.get_weights(), history

    kinds = []
    resident = learn()
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(batches, "CHUNK_BYTES", 40 * 12 * 14 * 4)  # two batches and a half
    original = batches.Streamed.batches

    def counted(self: batches.Streamed, *given: Any) -> Any:
        kinds.append("streamed")
        return original(self, *given)

    monkeypatch.setattr(batches.Streamed, "batches", counted)
    streamed = learn()
    assert len(kinds) == 4  # two parts, two epochs
    assert streamed[1] == resident[1]
    assert all(np.array_equal(one, other) for one, other in zip(streamed[0], resident[0], strict=True))
