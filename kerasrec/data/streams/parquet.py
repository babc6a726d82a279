"""Batches from Parquet files larger than memory."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.streams import row_stream
from kerasrec.data.streams.row_stream import RowEncoder
from kerasrec.data.tables.opening import Paths, files
from kerasrec.schema import Schema

OWNER = "stream_parquet"
READ_BYTES = 1 << 20


def stream_parquet(
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
) -> tf.data.Dataset:
    """Stream batches from Parquet files, read and encoded piece by piece.

    Row groups are read in random order, several of them in turns, slice by slice, into a buffer
    that is repeatedly shuffled and half emptied. So rows up to about `buffer_rows` apart mix, and
    memory holds about twice the buffer, whatever the size of the files.

    With `shard`, each worker reads an equal part of the rows. The row groups of all files are dealt
    again in each pass, and cut where necessary. Rows that do not divide evenly among the workers
    are dropped for that pass, and `dataset.part.left_out` counts them. All workers must use the
    same files and the same seed.

    Column names are those of the schema. Values are checked as they are read. A row that
    `Interactions` would reject ends the pass with a TensorFlow error that carries its message.

    Args:
        paths: a file, several, or a folder with files named `*.parquet`.
        schema: `Categorical` features and `Numeric` ones of size 1.
        vocabularies: by feature name, fitted on training rows.
        batch_size: rows per step, over all workers.
        shard: the worker's index, from 0, and the number of workers, as
            `kerasrec.distribute.shard` returns them; None if one process reads all rows.
        implicit: whether every label is 1. Then the files need no label column.
        weight: name of a column of sample weights.
        shuffle: whether to reorder the rows, otherwise in the order of the files.
        buffer_rows: rows in the buffer; it grows to two batches if it is smaller.
        seed: seed of the order, which changes in each pass.
        drop_remainder: whether to leave out the last rows that do not fill a batch.

    Returns:
        Dataset of (dict of features `(batch,)`, float32 label `(batch,)`[, float32 weight
        `(batch,)`]), with `batch_size / workers` rows each and known cardinality. Its attribute
        `part` describes this worker's share of the rows.

    Raises:
        ValueError: if a file is missing, unreadable or has no rows, a column is missing, has
            missing values or another type than its vocabulary, or an argument is out of range.

    Example:

    >>> import tempfile
    >>> from kerasrec.data import Interactions
    >>> table = pa.table({"user_id": [7, 9, 7], "item_id": ["a", "b", "b"], "rating": [4, 5, 1]})
    >>> from kerasrec.data.encoding._encode import fit_vocabularies, make_schema
    >>> rows = Interactions.from_table(table, time=None)
    >>> vocabularies = fit_vocabularies(rows)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pq.write_table(table, f"{folder}/rows.parquet")
    ...     schema = make_schema(rows, vocabularies)
    ...     dataset = stream_parquet(folder, schema, vocabularies, batch_size=2, shuffle=False)
    ...     for features, label in dataset:
    ...         print(features["user_id"].numpy(), features["item_id"].numpy(), label.numpy())
    ...     half = stream_parquet(folder, schema, vocabularies, batch_size=2, shard=(1, 2))
    [2 3] [2 3] [4. 5.]
    [2] [3] [1.]
    >>> print(half.part)
    worker 1 of 2: 1 of 3 rows a pass, 1 in each of 1 steps; 1 rows left out
    """
    encoder = RowEncoder(OWNER, schema, vocabularies, implicit, weight)
    groups = [
        group for file in files(OWNER, paths, "*.parquet") for group in _row_groups(file, encoder)
    ]
    for group in {group.path: group for group in reversed(groups)}.values():
        encoder.arrays(pa.table(next(group.read(0, 1))))
    return row_stream.row_stream(
        groups, encoder, batch_size, shard, shuffle, buffer_rows, seed, drop_remainder
    )


@dataclasses.dataclass(frozen=True)
class _RowGroup:
    path: pathlib.Path
    metadata: pq.FileMetaData
    index: int
    rows: int
    names: tuple[str, ...]

    def read(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        # Buffered, so that a file with one huge row group is not read at once.
        with pq.ParquetFile(self.path, metadata=self.metadata, buffer_size=READ_BYTES) as file:
            slices = file.iter_batches(
                min(row_stream.SLICE_ROWS, stop), row_groups=[self.index], columns=list(self.names)
            )
            first = 0
            for piece in slices:
                part = piece[max(start - first, 0) : stop - first]
                first += len(piece)
                if len(part):
                    yield part
                if first >= stop:
                    return


def _row_groups(path: pathlib.Path, encoder: RowEncoder) -> list[_RowGroup]:
    owner = f"{OWNER}: {path}"
    try:
        with pq.ParquetFile(path) as file:
            metadata, names = file.metadata, file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{owner} is not a readable Parquet file: {error}.") from error
    if missing := [name for name in encoder.names if name not in names]:
        fix = "" if encoder.implicit else " Without a label, pass implicit=True."
        raise ValueError(f"{owner}: expected the columns {missing}; the file has {names}.{fix}")
    groups = []
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        for place in range(group.num_columns):
            chunk = group.column(place)
            nulls = chunk.statistics.null_count if chunk.is_stats_set else 0
            if nulls and chunk.path_in_schema in encoder.names:
                raise ValueError(
                    f"{owner}: column {chunk.path_in_schema!r} has {nulls} missing values in row "
                    f"group {index}; expected none. Drop these rows or fill them in."
                )
        if group.num_rows:
            groups.append(_RowGroup(path, metadata, index, group.num_rows, tuple(encoder.names)))
    return groups
