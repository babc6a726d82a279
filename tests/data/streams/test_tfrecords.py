"""TFRecord files give what Parquet files of the same rows give."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from kerasrec.data import (
    fit_vocabularies,
    make_schema,
    stream_parquet,
    stream_tfrecord,
    write_tfrecord,
)
from kerasrec.data.tables.interactions import Interactions

NUMBERS = np.arange(103)
TABLE = pa.table(
    {
        "user_id": [f"ü{i % 11}" for i in NUMBERS],
        "item_id": NUMBERS % 37 + 2**40,
        "rating": NUMBERS % 5 + 1.0,
        "hour": NUMBERS / 7,
        "row": NUMBERS * 1.0,
    }
)
ROWS = Interactions.from_table(TABLE, time=None, context=["hour"], duplicates="keep")
VOCABULARIES = fit_vocabularies(ROWS)
SCHEMA = make_schema(ROWS, VOCABULARIES)


def stream(folder, **options):
    return stream_tfrecord(folder, SCHEMA, VOCABULARIES, **{"batch_size": 10, **options})


def row_numbers(dataset):
    return [int(row) for batch in dataset.as_numpy_iterator() for row in batch[2]]


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_equals_parquet_with_the_same_rows(tmp_path, compression):
    paths = write_tfrecord(TABLE, tmp_path, shards=3, compression=compression)
    assert [path.name for path in paths][::2] == [
        "rows-00000-of-00003.tfrecord",
        "rows-00002-of-00003.tfrecord",
    ]
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    ours = stream(tmp_path, shuffle=False, buffer_rows=16, compression=compression)
    theirs = stream_parquet(tmp_path, SCHEMA, VOCABULARIES, batch_size=10, shuffle=False)
    assert int(ours.cardinality()) == 11
    for left, right in zip(ours, theirs, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, left, right)
        assert left[1].dtype == right[1].dtype == tf.float32


@pytest.mark.parametrize("shards", [1, 5])
def test_workers_share_the_files(tmp_path, shards):
    """One file for all, and as many as there are workers."""
    write_tfrecord(TABLE, tmp_path, shards=shards)
    parts = [stream(tmp_path, weight="row", shard=(i, 5), buffer_rows=20) for i in range(5)]
    for _ in range(2):
        found = [row_numbers(part) for part in parts]
        assert {len(rows) for rows in found} == {20} and parts[0].part.left_out == 3
        assert len(set(sum(found, []))) == 100
    assert row_numbers(stream(tmp_path, weight="row", shard=(2, 5), buffer_rows=20)) != found[2]
    again = stream(tmp_path, weight="row", shard=(2, 5), buffer_rows=20)
    again.go_to_pass(1)
    assert row_numbers(again) == found[2]


def test_files_without_rows_do_no_harm(tmp_path):
    write_tfrecord(TABLE[:3], tmp_path, shards=8)
    parts = [stream(tmp_path, weight="row", shard=(i, 2)) for i in range(2)]
    assert len(set(sum(map(row_numbers, parts), []))) == 2 and parts[0].part.left_out == 1


def example(**values):
    kinds = {int: ("int64_list", tf.train.Int64List), float: ("float_list", tf.train.FloatList)}
    kinds[bytes] = ("bytes_list", tf.train.BytesList)
    features = {}
    for name, held in values.items():
        kind, made = kinds[type(held[0])]
        features[name] = tf.train.Feature(**{kind: made(value=held)})
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


GOOD = {"user_id": [b"u"], "item_id": [2**40], "rating": [4.0], "hour": [0.5]}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "the files have no rows"),
        ([b"\xff\xff\xff"], "records are not tf.train.Example"),
        ([example(user_id=[b"u"])], r"features \['hour', 'item_id', 'rating'\]; the examples have"),
        ([example(**GOOD | {"hour": [0.5, 1.0]})], "'hour' must hold one value .* received 2"),
        ([example(**GOOD | {"user_id": [7]})], "it holds string ids; received"),
    ],
)
def test_bad_files_are_named_at_once(tmp_path, records, message):
    with tf.io.TFRecordWriter(str(tmp_path / "bad.tfrecord")) as writer:
        for record in records:
            writer.write(record)
    with pytest.raises(ValueError, match=message):
        stream(tmp_path)


def test_a_bad_example_inside_ends_the_pass_and_says_why(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "bad.tfrecord")) as writer:
        for record in (example(**GOOD), example(**GOOD | {"rating": [4]})):
            writer.write(record)
    with pytest.raises(tf.errors.OpError, match="example does not match the schema"):
        list(stream(tmp_path))


def test_damaged_files_and_arguments(tmp_path):
    (path,) = write_tfrecord(TABLE, tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="not a readable TFRecord file of compression=''"):
        stream(tmp_path)
    with pytest.raises(ValueError, match=r"files named \*\.tfrecord\*; there is none at"):
        stream(tmp_path / "none")
    with pytest.raises(ValueError, match="compression must be one of '', 'GZIP', 'ZLIB'; received"):
        stream(tmp_path, compression="zstd")
    with pytest.raises(ValueError, match=r"no missing values; the columns \['a'\] have some"):
        write_tfrecord({"a": [1.0, None]}, tmp_path)
    with pytest.raises(ValueError, match="shards must be an integer of at least 1; received 0"):
        write_tfrecord({"a": [1.0]}, tmp_path, shards=0)
