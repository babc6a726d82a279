import numpy as np
import pytest

from kerasrec.layers.histories import at_the_end, lengths, newest
from kerasrec.layers.self_attention import SelfAttention, causal_mask


def test_newest_of_histories_of_all_lengths():
    history = np.array([[0, 0, 0], [5, 0, 0], [5, 6, 0], [5, 6, 7]])
    assert newest(history, 2).numpy().tolist() == [[0, 0], [5, 0], [5, 6], [6, 7]]
    assert newest(history, 3).numpy().tolist() == history.tolist()
    assert lengths(history).numpy().tolist() == [0, 1, 2, 3]


def test_the_end_is_the_last_item():
    states = np.arange(12.0).reshape(2, 3, 2)
    history = np.array([[4, 4, 0], [0, 0, 0]])
    assert at_the_end(states, history).numpy().tolist() == [[2.0, 3.0], [6.0, 7.0]]


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_is_the_equation(heads):
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(1, 3, 4)).astype("float32")
    layer = SelfAttention(heads)
    layer.build(steps.shape)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    kernel, bias, out, out_bias = layer.get_weights()
    query, key, value = np.split(steps[0] @ kernel + bias, 3, axis=-1)
    found, width = [], 4 // heads
    for part in (slice(h * width, (h + 1) * width) for h in range(heads)):
        scores = query[:, part] @ key[:, part].T / np.sqrt(width)
        scores[np.triu_indices(3, 1)] = -np.inf
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        found.append(shares @ value[:, part])
    wanted = np.concatenate(found, axis=1) @ out + out_bias
    mask = causal_mask(np.arange(3)[None])
    np.testing.assert_allclose(layer(steps, mask)[0], wanted, rtol=1e-4, atol=1e-5)
