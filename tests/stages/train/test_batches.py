"""Batches: samples reach the device in the given order, from memory or from disk, and files are read in chunks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.samples.npy_reader import NpyReader, empty_aligned
from tests.support.learning import Folders, make_model

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import batches, fit, networks  # noqa: E402  (import Keras)
from stages.train.backends.backend import load_backend  # noqa: E402  (the same)


@pytest.mark.parametrize(("samples", "shapes"), [(7, [(2, 2), (1, 2), (1, 1)]), (8, [(2, 2), (2, 2)]), (1, [(1, 1)])])
def test_order_is_split_without_loss(samples: int, shapes: list[tuple[int, int]]) -> None:
    """Each piece has at most `steps` full batches; the last piece is the smaller batch that remains."""
    pieces = list(batches.split_order(np.arange(samples), size=2, steps=2))
    assert [piece.shape for piece in pieces] == shapes
    assert np.concatenate([piece.ravel() for piece in pieces]).tolist() == list(range(samples))


@pytest.mark.parametrize("rows", [[3, 0, 3], slice(1, 4), slice(None)], ids=str)
def test_stored_rows_equal_rows_of_the_array(tmp_path: Path, rows: Any) -> None:
    """Rows read from the file equal rows indexed from the array."""
    array = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    stored = NpyReader(tmp_path / "a.npy")
    result = stored[rows if isinstance(rows, slice) else np.array(rows)]
    assert result.tobytes() == np.ascontiguousarray(array[rows]).tobytes()
    assert (len(stored), stored.shape, stored.nbytes) == (5, (5, 2, 3), array.nbytes)


def test_rows_in_fortran_order_are_refused(tmp_path: Path) -> None:
    """A file in Fortran order, whose rows are not contiguous, is refused."""
    np.save(tmp_path / "a.npy", np.asfortranarray(np.zeros((3, 4), np.float32)))
    with pytest.raises(ValueError, match="expected an array with rows in C order"):
        NpyReader(tmp_path / "a.npy")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX copies arrays")
def test_arrays_read_from_files_are_not_copied(tmp_path: Path) -> None:
    """TensorFlow computes on the memory that a file was read into; memory with another alignment is copied."""
    np.save(tmp_path / "a.npy", np.arange(24, dtype=np.float32).reshape(6, 4))
    read = NpyReader(tmp_path / "a.npy")[:]
    unaligned = empty_aligned((7, 4), read.dtype)[1:]
    unaligned[:] = read
    tensors = load_backend().make_loop(None).to_device([read, unaligned])
    assert [tensor.numpy().tolist() for tensor in tensors] == [read.tolist()] * 2
    read[0, 0] = unaligned[0, 0] = 100
    assert [float(tensor[0, 0]) for tensor in tensors] == [100, 0]


@pytest.mark.farm
@pytest.mark.parametrize(
    "changes",
    [pytest.param({}, marks=pytest.mark.farm), {"loss": "categorical_crossentropy", "balance": True}],
    ids=str,
)
def test_streaming_changes_nothing(folders: Folders, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    """Data streamed from disk gives the same weights and history, to the bit, as data on the device."""

    def learn() -> tuple[list[Any], Any]:
        model, data = make_model("cnn", dropout=0.2, **changes), folders.data
        network = networks.build(model, data.prepared.shape, 4)
        fit.compile_network(network, model, len(data.train.labels))
        history = fit.fit(network, data, "tried", model).history
        return network.get_weights(), history

    calls = []
    on_device = learn()
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(batches, "CHUNK_BYTES", 40 * 12 * 14 * 4)  # two and a half batches
    original = batches.StreamedBatches.batches

    def counted(self: batches.StreamedBatches, *arguments: Any) -> Any:
        calls.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(batches.StreamedBatches, "batches", counted)
    streamed = learn()
    assert len(calls) == 4  # two parts, two epochs
    assert streamed[1] == on_device[1]
    assert all(np.array_equal(one, other) for one, other in zip(streamed[0], on_device[0], strict=True))
