"""Blocks of batches: passes that repeat, stop half way, or run beside each other."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data.batches import blocks


def make(made=None, count=5):
    """Five blocks of two batches of three rows; pass p, block b, batch i holds 100 p + 10 b + i."""

    def one_pass(number):
        for block in range(count):
            if made is not None:
                made.append((number, block))
            values = 100 * number + 10 * block + np.arange(2)
            yield {"id": np.repeat(values, 3).reshape(2, 3)}, values.astype(np.float32)[:, None]

    example = {"id": np.zeros((1, 3), np.int64)}, np.zeros((1, 1), np.float32)
    return blocks.block_dataset(one_pass, example, batches=2 * count, rows=None)


def first_ids(dataset):
    return [int(features["id"][0]) for features, _ in dataset]


def expected(number):
    return [100 * number + 10 * block + batch for block in range(5) for batch in range(2)]


def test_batches_come_in_order_and_passes_are_numbered():
    dataset = make()
    assert int(dataset.cardinality()) == 10
    assert [first_ids(dataset) for _ in range(3)] == [expected(0), expected(1), expected(2)]


def test_types_and_shapes_are_known():
    (features, label) = make().element_spec
    assert (features["id"].dtype, features["id"].shape.as_list()) == (tf.int64, [None])
    assert (label.dtype, label.shape.as_list()) == (tf.float32, [None])


def test_a_pass_that_is_dropped_half_way_leaves_the_others_alone():
    dataset = make()
    for number in range(12):
        assert first_ids(dataset.take(3)) == expected(number)[:3]
    assert first_ids(dataset) == expected(12)


@pytest.mark.parametrize("count", [2, blocks.RUNNING_PASSES, blocks.RUNNING_PASSES + 3])
def test_passes_side_by_side(count):
    """With more than are held, the oldest is made anew up to where it was."""
    dataset = make()
    turns = zip(*[iter(dataset) for _ in range(count)], strict=True)
    seen = [[int(features["id"][0]) for features, _ in turn] for turn in turns]
    assert sorted(zip(*seen, strict=True)) == sorted(tuple(expected(n)) for n in range(count))


def test_every_block_is_made_once_in_an_ordinary_pass():
    made = []
    dataset = make(made)
    first_ids(dataset)
    first_ids(dataset)
    assert made == list(itertools.product((0, 1), range(5)))


def test_an_error_inside_a_block_says_what_it_is():
    def one_pass(number):
        yield (np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32))
        raise ValueError("column 'age' holds NaN")

    example = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32)
    dataset = blocks.block_dataset(one_pass, example, batches=2, rows=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="column 'age' holds NaN"):
        list(dataset)


def test_no_generator_dataset():
    """TensorFlow's op for generators changes how glibc allocates, for the whole process."""
    names = set()
    waiting = [make()]
    while waiting:
        dataset = waiting.pop()
        names.add(type(dataset).__name__)
        waiting += dataset._inputs()
    assert "_FlatMapDataset" in names or "FlatMapDataset" in names
    graph = make()._as_serialized_graph().numpy()
    assert b"GeneratorDataset" not in graph
    assert b"TakeWhile" in graph


def mixed_columns(rows=50):
    rng = np.random.default_rng(0)
    return {
        "user": rng.integers(0, 9, rows, np.int32),
        "age": rng.random(rows, np.float32),
        "item": rng.integers(0, 9, rows, np.int32),
        "day": rng.integers(2**40, 2**41, rows),
        "vector": rng.random((rows, 3), np.float32),
        "price": rng.random(rows, np.float32)[::-1],
        "word": np.array([f"w{row}" for row in range(rows)], object),
        "other": np.array([f"o{row}" for row in range(rows)], object),
    }


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("size", [blocks.SIDE_BY_SIDE_BYTES, 300])
def test_a_row_taker_takes_the_rows_of_all_columns(monkeypatch, dtype, size):
    """Some columns of one dtype lie side by side; 300 bytes are too few for that."""
    monkeypatch.setattr(blocks, "SIDE_BY_SIDE_BYTES", size)
    columns = mixed_columns()
    take = blocks.row_taker(columns)
    for rows in ([7, 7, 0, 49], [3], []):
        rows = np.array(rows, dtype)
        taken = take(rows)
        assert list(taken) == list(columns)
        for name, column in columns.items():
            assert taken[name].dtype == column.dtype
            np.testing.assert_array_equal(taken[name], column[rows])


def test_rows_of_a_memory_map_stay_on_disk(tmp_path):
    """What is written to the file later is read, so nothing was copied."""
    columns = {}
    for name in ("user", "item"):
        columns[name] = np.memmap(tmp_path / name, np.int32, "w+", shape=(4,))
    take = blocks.row_taker(columns)
    take(np.arange(4))
    columns["item"][2] = 5
    assert take(np.array([2]))["item"].tolist() == [5]
