"""Networks on tokens: the embedding, and what padding does."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.learning import make_model

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import networks  # noqa: E402  (imports Keras)

VOCABULARY, STEPS = 1000, 9
WORDS = [731, 12, 999, 257]


def outputs(network: Any, *rows: list[int]) -> NDArray[np.float32]:
    """Returns the outputs of `network` for these tokens, as float32 like in all data."""
    return np.asarray(network(np.array(rows, np.float32)))


def build(network: str, policy: str = "float32", **changes: Any) -> Any:
    """Returns a network on tokens for two classes."""
    model = make_model(network, embedding=8, **changes)
    return networks.build(model, (STEPS,), 2, policy, VOCABULARY)


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_recurrent_networks_skip_padding(cell: str) -> None:
    """A text has the same outputs with its padding at the start, in the middle or at the end."""
    padding = [0] * (STEPS - len(WORDS))
    network = build("recurrent", cell=cell, recurrent_units=[6, 5], units=[4], form="functional", skip=True)
    before, after, between = outputs(network, padding + WORDS, WORDS + padding, [*WORDS[:2], *padding, *WORDS[2:]])
    assert np.allclose(before, after, atol=1e-6)
    assert np.allclose(before, between, atol=1e-6)
    assert not np.allclose(before, outputs(network, padding + WORDS[::-1])[0], atol=1e-6)


def test_dense_networks_take_the_mean() -> None:
    """The order of tokens means nothing to a dense network, and padding is one of the tokens."""
    network = build("dense")
    words = WORDS + [0] * (STEPS - len(WORDS))
    first, turned, longer = outputs(network, words, words[::-1], [*words[:-1], 5])
    assert np.allclose(first, turned, atol=1e-6)
    assert not np.allclose(first, longer, atol=1e-6)
    assert network.layers[0].count_params() == VOCABULARY * 8


@pytest.mark.parametrize("network", ["dense", "conv1d", "recurrent"])
def test_tokens_are_exact_in_bfloat16(network: str) -> None:
    """bfloat16 has 8 bits, but the tokens 256 and 257, and 998 and 999, stay different."""
    rough = build(network, "mixed_bfloat16")
    exact = networks.float32_copy(rough)
    rows = [[token] * STEPS for token in (256, 257, 998, 999)]
    assert np.abs(outputs(rough, *rows) - outputs(exact, *rows)).max() < 0.02
    assert len({tuple(row) for row in outputs(exact, *rows).tolist()}) == len(rows)
