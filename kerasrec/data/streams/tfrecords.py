"""Batches from TFRecord files of `tf.train.Example`, and a writer of such files."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import tensorflow as tf

from kerasrec._checks import check_choice, check_integer
from kerasrec._files import new_file
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.streams import row_stream
from kerasrec.data.streams.row_stream import RowEncoder
from kerasrec.data.tables.arrow import columns_of, joined, to_arrow, to_context
from kerasrec.data.tables.opening import Paths, files
from kerasrec.schema import Schema

Compression = Literal["", "GZIP", "ZLIB"]

OWNER = "stream_tfrecord"
READ_BYTES = 1 << 20


def stream_tfrecord(
    paths: Paths,
    schema: Schema,
    vocabularies: Mapping[str, Vocabulary],
    *,
    batch_size: int,
    shard: tuple[int, int] | None = None,
    implicit: bool = False,
    weight: str | None = None,
    shuffle: bool = True,
    buffer_rows: int = 1 << 20,
    seed: int = 0,
    drop_remainder: bool = False,
    compression: Compression = "",
) -> tf.data.Dataset:
    """Stream batches from TFRecord files, as `stream_parquet` does from Parquet files.

    A feature holds one value: an id as int64 or bytes, like its vocabulary, or a number, label or
    weight as float or int64. A TFRecord file does not store its number of examples, so all files
    are read once, without parsing, when the dataset is made. Each file is read sequentially, and
    several files are read in turns, so many small files mix better than a few large ones.

    Args:
        paths: a file, several, or a folder with files named `*.tfrecord*`.
        compression: compression of the files: "" for none, "GZIP" or "ZLIB".
        schema: see `stream_parquet`.
        vocabularies: see `stream_parquet`.
        batch_size: see `stream_parquet`.
        shard: see `stream_parquet`.
        implicit: see `stream_parquet`.
        weight: see `stream_parquet`.

    Returns:
        Dataset as of `stream_parquet`.

    Raises:
        ValueError: if a file is missing, damaged or has no rows, a feature is missing or of another
            type in the first example of a file, or an argument is out of range.

    Example:

    >>> import tempfile
    >>> from kerasrec import data
    >>> table = {"user_id": [7, 9, 7], "item_id": ["a", "b", "b"], "rating": [4, 5, 1]}
    >>> rows = data.Interactions.from_table(table, time=None)
    >>> vocabularies = data.fit_vocabularies(rows)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = write_tfrecord(table, folder, shards=2)
    ...     schema = data.make_schema(rows, vocabularies)
    ...     dataset = stream_tfrecord(folder, schema, vocabularies, batch_size=2, shuffle=False)
    ...     for features, label in dataset:
    ...         print(features["user_id"].numpy(), features["item_id"].numpy(), label.numpy())
    [2 3] [2 3] [4. 5.]
    [2] [3] [1.]
    """
    check_choice(OWNER, "compression", compression, ("", "GZIP", "ZLIB"))
    encoder = RowEncoder(OWNER, schema, vocabularies, implicit, weight)
    groups = []
    for path in files(OWNER, paths, "*.tfrecord*"):
        group = _counted(path, encoder, compression)
        if group.rows:
            encoder.arrays(next(group.read(0, 1)))
            groups.append(group)
    return row_stream.row_stream(
        groups, encoder, batch_size, shard, shuffle, buffer_rows, seed, drop_remainder
    )


def write_tfrecord(
    table: Any,
    directory: str | os.PathLike[str],
    *,
    shards: int = 1,
    compression: Compression = "",
) -> list[pathlib.Path]:
    """Write the rows of a table to TFRecord files of `tf.train.Example`, in equal parts.

    Integers and booleans become int64, other numbers float, text bytes.

    Args:
        table: a dict of columns or any table of the Arrow protocol; all columns are written.
        directory: folder for `rows-00000-of-00001.tfrecord` and so on; created if necessary.
        shards: number of files.
        compression: "" for none, "GZIP" or "ZLIB".

    Returns:
        The paths of the files, in the order of the rows.

    Raises:
        ValueError: if the columns differ in length, have missing values or are neither numbers nor
            text, or an argument is out of range.
    """
    owner = "write_tfrecord"
    check_integer(owner, "shards", shards, 1, numpy=True)
    given = columns_of(table)
    columns = joined({name: to_context(to_arrow(v, name), name) for name, v in given.items()})
    if gaps := [name for name in columns.column_names if columns[name].null_count]:
        raise ValueError(
            f"{owner}: expected no missing values; the columns {gaps} have some. Drop these rows "
            "or fill them in."
        )
    options = tf.io.TFRecordOptions(compression)
    ends = np.linspace(0, columns.num_rows, shards + 1).astype(int)
    paths = []
    for number in range(shards):
        path = pathlib.Path(directory) / f"rows-{number:05d}-of-{shards:05d}.tfrecord"
        part = columns[int(ends[number]) : int(ends[number + 1])]
        with (
            new_file(path) as temporary,
            tf.io.TFRecordWriter(str(temporary), options) as writer,
        ):
            for batch in part.to_batches(max_chunksize=row_stream.SLICE_ROWS):
                for row in batch.to_pylist():
                    writer.write(_example(row))
        paths.append(path)
    return paths


@dataclasses.dataclass(frozen=True)
class _File:
    """TFRecord file whose examples are parsed as they are read."""

    path: pathlib.Path
    rows: int
    parsers: Mapping[str, tf.io.FixedLenFeature]
    compression: str

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        for records in _records(self.path, self.compression, start, stop):
            try:
                parsed = tf.io.parse_example(records, dict(self.parsers))
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(
                    f"{OWNER}: {self.path}: an example does not match the schema: {error.message}"
                ) from error
            yield pa.table({name: _column(values.numpy()) for name, values in parsed.items()})


def _counted(path: pathlib.Path, encoder: RowEncoder, compression: str) -> _File:
    first, rows = None, 0
    try:
        for records in _records(path, compression, 0, -1):
            first = records[0].numpy() if first is None else first
            rows += len(records)
    except tf.errors.OpError as error:
        raise ValueError(
            f"{OWNER}: {path} is not a readable TFRecord file of compression={compression!r}: "
            f"{error.message}"
        ) from error
    parsers = {} if first is None else _parsers(path, first, encoder)
    return _File(path, rows, parsers, compression)


def _records(path: pathlib.Path, compression: str, start: int, stop: int) -> Iterator[tf.Tensor]:
    """Iterate over serialized examples `(slice,)`, without functions that block a thread."""
    records = tf.data.TFRecordDataset(str(path), compression, READ_BYTES).skip(start)
    return iter(records.take(stop - start if stop >= 0 else -1).batch(row_stream.SLICE_ROWS))


def _parsers(
    path: pathlib.Path, record: bytes, encoder: RowEncoder
) -> dict[str, tf.io.FixedLenFeature]:
    """Return the parser of each column, judged by the first example of the file."""
    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf's DecodeError has no public name
        raise ValueError(f"{OWNER}: {path}: the records are not tf.train.Example.") from error
    if missing := [name for name in encoder.names if name not in features]:
        fix = "" if encoder.implicit else " Without a label, pass implicit=True."
        raise ValueError(
            f"{OWNER}: {path}: expected the features {missing}; the examples have "
            f"{sorted(features)}.{fix}"
        )
    kinds = {"int64_list": tf.int64, "float_list": tf.float32, "bytes_list": tf.string}
    parsers = {}
    for name in encoder.names:
        kind = features[name].WhichOneof("kind")
        if kind is None or len(getattr(features[name], kind).value) != 1:
            raise ValueError(
                f"{OWNER}: {path}: feature {name!r} must hold one value an example; received "
                f"{0 if kind is None else len(getattr(features[name], kind).value)}."
            )
        parsers[name] = tf.io.FixedLenFeature((), kinds[kind])
    return parsers


def _column(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.binary()) if values.dtype == object else pa.array(values)


def _example(row: Mapping[str, Any]) -> bytes:
    features = {}
    for name, value in row.items():
        if isinstance(value, str):
            kind: dict[str, Any] = {"bytes_list": tf.train.BytesList(value=[value.encode()])}
        elif isinstance(value, float):
            kind = {"float_list": tf.train.FloatList(value=[value])}
        else:
            kind = {"int64_list": tf.train.Int64List(value=[value])}
        features[name] = tf.train.Feature(**kind)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
