import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.layers.histories import (
    at_the_end,
    events,
    lengths,
    newest,
    newest_positions,
    scaled,
    seen_by_each,
    take_steps,
)
from kerasrec.schema import Numeric


def test_newest_of_histories_of_all_lengths():
    history = np.array([[0, 0, 0], [5, 0, 0], [5, 6, 0], [5, 6, 7]])
    assert newest(history, 2).numpy().tolist() == [[0, 0], [5, 0], [5, 6], [6, 7]]
    assert newest(history, 3).numpy().tolist() == history.tolist()
    assert lengths(history).numpy().tolist() == [0, 1, 2, 3]


def by_hand(history, max_length, width):
    rows = [[item for item in row if item][-max_length:] for row in history]
    return [row + [0] * (width - len(row)) for row in rows]


ROWS = st.lists(st.integers(0, 3), min_size=5, max_size=5)


@settings(max_examples=30, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(1, 7))
def test_padding_stands_anywhere(rows, max_length):
    history = np.array(rows)
    assert newest(history, max_length).numpy().tolist() == by_hand(
        rows, max_length, min(5, max_length)
    )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("width", [0, 1, 3, 9])
def test_widths_that_the_graph_does_not_know(width, compiled):
    rng = np.random.default_rng(width)
    history = rng.integers(0, 4, (6, width)).astype("int32")
    numbers = np.where(history > 0, history / 2, np.nan)[..., None].astype("float32")

    @tf.function(
        jit_compile=compiled,
        input_signature=[
            tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None, 1), tf.float32)
        ],
    )  # fmt: skip
    def run(history, numbers):
        position = newest_positions(events(numbers), 3)
        return newest(history, 3), take_steps(numbers, position)

    ids, taken = run(history, numbers)
    assert ids.shape == (6, 3) and ids.numpy().tolist() == by_hand(history.tolist(), 3, 3)
    np.testing.assert_array_equal(taken[..., 0], ids.numpy() / 2)


def test_the_end_is_the_last_item():
    states = np.arange(12.0).reshape(2, 3, 2)
    history = np.array([[4, 4, 0], [0, 0, 0]])
    assert at_the_end(states, history).numpy().tolist() == [[2.0, 3.0], [6.0, 7.0]]


def test_a_step_sees_itself_and_what_its_own_sequence_had_before():
    mask = seen_by_each(np.array([[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]])).numpy().astype(int)
    assert mask[0].tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]
    assert mask[1].sum(axis=1).tolist() == [1, 1, 2, 3, 4]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(math.nan), min_size=1, max_size=5))
def test_numbers_on_a_logarithm_by_hand(values):
    feature = Numeric("views", mean=2.0, deviation=4.0, log=True)
    expected = [
        0.0 if math.isnan(x) else (math.copysign(math.log(1 + abs(x)), x) - 2.0) / 4.0
        for x in values
    ]
    received = scaled(np.float32(values), feature)
    np.testing.assert_allclose(received, expected, atol=1e-6)
    assert np.isfinite(scaled(np.float32([3e38, -3e38]), feature)).all()
