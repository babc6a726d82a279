"""Streaming: every row once a pass, memory bounded, bad files named before the first batch."""

import itertools
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from kerasrec.data.batches.examples import pointwise
from kerasrec.data.encoding._encode import encode, fit_vocabularies, make_schema
from kerasrec.data.streams import row_stream
from kerasrec.data.streams.parquet import stream_parquet
from kerasrec.data.streams.row_stream import RowEncoder
from kerasrec.data.tables.interactions import Interactions
from kerasrec.schema import Bag, Categorical, Schema


def make_table(rows: int = 103) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "user_id": [f"u{i % 11}" for i in range(rows)],
            "item_id": np.arange(rows) % 37 + 100,
            "rating": rng.integers(1, 6, rows),
            "hour": rng.random(rows),
            "row": np.arange(rows, dtype=np.float64),
        }
    )


TABLE = make_table()
ROWS = Interactions.from_table(TABLE, time=None, context=["hour"], duplicates="keep")
VOCABULARIES = fit_vocabularies(ROWS)
SCHEMA = make_schema(ROWS, VOCABULARIES)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Three files of 40, 40 and 23 rows, in row groups of at most 9."""
    for part in range(3):
        pq.write_table(TABLE[part * 40 :][:40], tmp_path / f"{part}.parquet", row_group_size=9)
    return tmp_path


def everything(dataset: tf.data.Dataset) -> list:
    return list(dataset.as_numpy_iterator())


def row_numbers(found: list) -> list[int]:
    return [int(row) for batch in found for row in batch[2]]


def stream(paths, **options) -> tf.data.Dataset:
    return stream_parquet(paths, SCHEMA, VOCABULARIES, **{"batch_size": 10, **options})


def test_unshuffled_equals_pointwise_in_memory(folder):
    streamed = everything(stream(folder, shuffle=False, buffer_rows=16))
    columns = encode(ROWS, VOCABULARIES)
    in_memory = everything(pointwise(columns, SCHEMA, batch_size=10, shuffle=False))
    assert len(streamed) == len(in_memory) == 11
    for left, right in zip(tf.nest.flatten(streamed), tf.nest.flatten(in_memory), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("buffer_rows", [1, 30, 50, 10_000])
@pytest.mark.parametrize("batch_size", [1, 10, 64, 500])
def test_each_row_comes_once_whole(folder, monkeypatch, buffer_rows, batch_size):
    monkeypatch.setattr(row_stream, "SLICE_ROWS", 4)
    dataset = stream(folder, batch_size=batch_size, buffer_rows=buffer_rows, weight="row")
    found = everything(dataset)
    assert len(found) == int(dataset.cardinality()) == -(-103 // batch_size)
    assert {len(label) for _, label, _ in found[:-1]} <= {batch_size}
    assert sorted(row_numbers(found)) == list(range(103))
    columns = encode(ROWS, VOCABULARIES)
    for features, label, row in found:
        row = row.astype(int)
        np.testing.assert_array_equal(label, columns["rating"][row])
        for name in ("user_id", "item_id", "hour"):
            np.testing.assert_array_equal(features[name], columns[name][row])


@pytest.mark.parametrize("batch_size", [1, 7, 20])
def test_a_buffer_smaller_than_two_batches_grows_to_two(folder, monkeypatch, batch_size):
    monkeypatch.setattr(row_stream, "SLICE_ROWS", 3)
    found = {
        buffer_rows: row_numbers(
            everything(stream(folder, batch_size=batch_size, buffer_rows=buffer_rows, weight="row"))
        )
        for buffer_rows in (1, 2 * batch_size - 1, 2 * batch_size, 6 * batch_size)
    }
    assert found[1] == found[2 * batch_size - 1] == found[2 * batch_size]
    assert found[1] != found[6 * batch_size]
    assert sorted(found[1]) == list(range(103))


def test_a_buffer_of_one_row_still_shuffles(folder, monkeypatch):
    """Rows of neighbouring slices mix: the order is not one of slices put in turns."""
    monkeypatch.setattr(row_stream, "SLICE_ROWS", 1)
    monkeypatch.setattr(row_stream, "OPEN_GROUPS", 1)
    order = row_numbers(everything(stream(folder, batch_size=10, buffer_rows=1, weight="row")))
    # Without the buffer the rows of each group would come in their order.
    assert np.mean(np.diff(order) == 1) < 0.5


def test_shuffling_mixes_beyond_row_groups(folder):
    order = np.array(row_numbers(everything(stream(folder, weight="row", buffer_rows=60))))
    assert not np.array_equal(order, np.arange(103))
    # Rows of one group of 9 do not stay next to each other.
    assert np.mean(np.abs(np.diff(order)) < 9) < 0.5


def test_passes_differ_and_repeat_with_the_seed(folder):
    one, other = (stream(folder, weight="row", buffer_rows=40) for _ in range(2))
    passes = [row_numbers(everything(one)) for _ in range(3)]
    assert all(a != b for a, b in itertools.combinations(passes, 2))
    assert passes == [row_numbers(everything(other)) for _ in range(3)]
    assert passes[0] != row_numbers(everything(stream(folder, weight="row", seed=1)))


def test_drop_remainder_and_static_shapes(folder):
    dataset = stream(folder, drop_remainder=True)
    assert int(dataset.cardinality()) == len(everything(dataset)) == 10
    assert dataset.element_spec[1].shape.as_list() == [10]
    assert stream(folder).element_spec[1].shape.as_list() == [None]
    with pytest.raises(ValueError, match="leaves nothing of 103 rows"):
        stream(folder, batch_size=104, drop_remainder=True)


def test_unknown_ids_become_1(tmp_path):
    table = pa.table(
        {"user_id": ["u1", "new"], "item_id": [5, 100], "rating": [1, 2], "hour": [0.5, 1]}
    )
    pq.write_table(table, tmp_path / "new.parquet")
    features, _ = everything(stream(tmp_path / "new.parquet", shuffle=False))[0]
    assert features["user_id"].tolist() == [3, 1] and features["item_id"].tolist() == [1, 2]


def test_implicit_rows_need_no_label(tmp_path):
    pq.write_table(TABLE.drop_columns(["rating"]), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"expected the columns \['rating'\].*implicit=True"):
        stream(tmp_path)
    _, label = everything(stream(tmp_path, implicit=True))[0]
    assert label.dtype == np.float32 and label.tolist() == [1.0] * 10


def test_a_large_row_group_is_read_in_pieces(tmp_path, monkeypatch):
    """One row group of 400,000 rows; the pieces encoded at once stay at half the buffer."""
    rows = 400_000
    table = pa.table(
        {"user_id": np.arange(rows) % 50, "item_id": np.arange(rows) % 70, "rating": np.ones(rows)}
    )
    pq.write_table(table, tmp_path / "large.parquet", row_group_size=rows)
    known = Interactions.from_table(table[:3500], time=None, duplicates="keep")
    vocabularies = fit_vocabularies(known)
    sizes = []
    plain = RowEncoder.arrays

    def spied(self, part):
        sizes.append(len(part))
        return plain(self, part)

    monkeypatch.setattr(RowEncoder, "arrays", spied)
    schema = make_schema(known, vocabularies)
    dataset = stream_parquet(tmp_path, schema, vocabularies, batch_size=4096, buffer_rows=1 << 16)
    assert sum(len(label) for _, label in everything(dataset)) == rows
    assert max(sizes) <= (1 << 15) + row_stream.SLICE_ROWS
    assert pq.ParquetFile(tmp_path / "large.parquet").num_row_groups == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop_columns(["item_id"]),
            r"expected the columns \['item_id'\]; the file has",
        ),
        (
            lambda t: t.set_column(0, "user_id", pa.array(range(103))),
            "it holds string ids; received",
        ),
        (
            lambda t: t.set_column(1, "item_id", pa.array([0.5] * 103)),
            "must be integers or strings",
        ),
        (lambda t: t.set_column(2, "rating", pa.array(["x"] * 103)), "rating"),
        (lambda t: t.set_column(2, "rating", pa.array([1] * 102 + [None])), "has 1 missing values"),
        (lambda t: t[:0], "the files have no rows"),
    ],
)
def test_bad_files(tmp_path, change, message):
    pq.write_table(change(TABLE), tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=message):
        stream(tmp_path)


def test_every_file_is_looked_at(folder):
    pq.write_table(TABLE.rename_columns(["user", *TABLE.column_names[1:]]), folder / "9.parquet")
    with pytest.raises(ValueError, match=r"9\.parquet: expected the columns \['user_id'\]"):
        stream(folder)


def test_a_bad_value_inside_ends_the_pass_and_says_why(tmp_path):
    ratings = pa.array([1.0] * 60 + [float("nan")] + [1.0] * 42)
    pq.write_table(TABLE.set_column(2, "rating", ratings), tmp_path / "bad.parquet")
    with pytest.raises(tf.errors.OpError, match="missing"):
        everything(stream(tmp_path))


def test_missing_and_unreadable_paths(tmp_path):
    with pytest.raises(ValueError, match="there is none at"):
        stream(tmp_path)
    with pytest.raises(ValueError, match="there is none at"):
        stream(tmp_path / "no.parquet")
    with pytest.raises(ValueError, match="received no paths"):
        stream([])
    (tmp_path / "text.parquet").write_text("user_id,item_id\n")
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        stream(tmp_path)


@pytest.mark.parametrize("name", ["batch_size", "buffer_rows"])
def test_bad_arguments(folder, name):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1; received 0"):
        stream(folder, **{name: 0})


def test_schema_and_vocabularies_must_fit(folder):
    other = Schema(user=[Categorical("user_id", 99)], item=[SCHEMA.item_id], label="rating")
    with pytest.raises(ValueError, match="that many ids; received one of 13 ids"):
        stream_parquet(folder, other, VOCABULARIES, batch_size=10)
    with pytest.raises(ValueError, match="received none"):
        stream_parquet(folder, SCHEMA, {}, batch_size=10)
    bags = Schema(user=[SCHEMA.user_id, Bag("tags", 9, 3)], item=[SCHEMA.item_id], label="rating")
    with pytest.raises(ValueError, match="reads Categorical features and Numeric ones"):
        stream_parquet(folder, bags, VOCABULARIES, batch_size=10)
