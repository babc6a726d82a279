import numpy as np

from kerasrec.layers.histories import at_the_end, lengths, newest, seen_by_each


def test_newest_of_histories_of_all_lengths():
    history = np.array([[0, 0, 0], [5, 0, 0], [5, 6, 0], [5, 6, 7]])
    assert newest(history, 2).numpy().tolist() == [[0, 0], [5, 0], [5, 6], [6, 7]]
    assert newest(history, 3).numpy().tolist() == history.tolist()
    assert lengths(history).numpy().tolist() == [0, 1, 2, 3]


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
