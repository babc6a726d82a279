"""Batches from Parquet files that are larger than memory."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from kerasrec.data import columns as check
from kerasrec.data.blocks import Arrays, block_dataset, count_batches, cut_blocks, take_rows
from kerasrec.data.encode import encode
from kerasrec.data.interactions import Interactions
from kerasrec.data.vocabulary import Vocabulary
from kerasrec.schema import Categorical, Numeric, Schema

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# Rows read from a row group at a time, and row groups read in turns: neighbours in a file (often
# all of one user or one day) are spread over the buffer.
SLICE_ROWS = 1 << 14
OPEN_ROW_GROUPS = 4
READ_BYTES = 1 << 20


def stream_parquet(
    paths: Paths,
    schema: Schema,
    vocabularies: Mapping[str, Vocabulary],
    *,
    batch_size: int,
    implicit: bool = False,
    weight: str | None = None,
    shuffle: bool = True,
    buffer_rows: int = 1 << 20,
    seed: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Rows of Parquet files as `pointwise` gives them, read and encoded piece by piece.

    Row groups are read in random order, some of them in turns, slice by slice, into a buffer that
    is reordered and half emptied again and again. So rows up to about `buffer_rows` apart mix, and
    memory holds about twice the buffer whatever the size of the files.

    The names of the columns are those of the schema. Values are checked as they are read: a row
    that `Interactions` would refuse ends the pass with a TensorFlow error that carries its message.

    Args:
        paths: a file, several, or a folder with files named `*.parquet`.
        schema: `Categorical` features and `Numeric` ones of size 1.
        vocabularies: by feature name, fitted on training rows.
        batch_size: rows per batch.
        implicit: whether every label is 1; the files need no label column then.
        weight: name of a column of sample weights.
        shuffle: whether to reorder the rows, otherwise in the order of the files.
        buffer_rows: rows in the buffer; it grows to two batches if it is smaller.
        seed: of the order, which is another one in each pass.
        drop_remainder: whether to leave out the last rows that do not fill a batch.

    Returns:
        dataset of (dict of features `(batch,)`, float32 label `(batch,)`[, float32 weight
        `(batch,)`]); its cardinality is known.

    Raises:
        ValueError: if a file is missing, unreadable or has no rows, a column is missing, has
            missing values or another type than its vocabulary, or an argument is out of range.

    Example:

    >>> import tempfile
    >>> table = pa.table({"user_id": [7, 9, 7], "item_id": ["a", "b", "b"], "rating": [4, 5, 1]})
    >>> from kerasrec.data.encode import fit_vocabularies, make_schema
    >>> rows = Interactions.from_table(table, time=None)
    >>> vocabularies = fit_vocabularies(rows)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pq.write_table(table, f"{folder}/rows.parquet")
    ...     dataset = stream_parquet(
    ...         folder, make_schema(rows, vocabularies), vocabularies, batch_size=2, shuffle=False)
    ...     for features, label in dataset:
    ...         print(features["user_id"].numpy(), features["item_id"].numpy(), label.numpy())
    [2 3] [2 3] [4. 5.]
    [2] [3] [1.]
    """
    owner = "stream_parquet"
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("buffer_rows", buffer_rows, 1),
    ):
        check.check_integer(owner, name, value, least)
    encoder = _Encoder(schema, vocabularies, implicit, weight)
    groups = [group for file in _files(paths) for group in _row_groups(file, encoder)]
    rows = sum(group.rows for group in groups)
    if not rows:
        raise ValueError(f"{owner}: the files have no rows: {paths}.")
    for group in {group.path: group for group in reversed(groups)}.values():
        first = next(group.read(encoder.names, 1))
        example = encoder.arrays(pa.Table.from_batches([first]))
    batches = count_batches(owner, rows, batch_size, drop_remainder)
    kept = max(buffer_rows, 2 * batch_size) // 2

    def blocks(number: int) -> Iterator[Arrays]:
        rng = np.random.default_rng([seed, number])
        slices = _slices(groups, encoder.names, rng if shuffle else None)
        held = take_rows(example, slice(0))
        for table in itertools.chain(_joined(slices, kept), [None]):  # None: no more rows come
            if table is not None:
                held = _appended(held, encoder.arrays(table))
                if shuffle:
                    held = take_rows(held, rng.permutation(len(held[1])))
            spare = kept if shuffle and table is not None else 0
            ready = max(0, len(held[1]) - spare) // batch_size
            if ready:
                yield from cut_blocks(take_rows(held, slice(0, ready * batch_size)), ready)
                held = take_rows(held, slice(ready * batch_size, None))
        if len(held[1]) and not drop_remainder:
            yield from cut_blocks(held, 1)

    static = drop_remainder or rows % batch_size == 0
    block = next(cut_blocks(example, 1))
    return block_dataset(blocks, block, batches=batches, rows=batch_size if static else None)


@dataclasses.dataclass(frozen=True)
class _RowGroup:
    path: pathlib.Path
    metadata: pq.FileMetaData
    index: int
    rows: int

    def read(self, names: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        # Buffered, so that a file that is one huge row group is not read whole.
        with pq.ParquetFile(self.path, metadata=self.metadata, buffer_size=READ_BYTES) as file:
            yield from file.iter_batches(rows, row_groups=[self.index], columns=names)


@dataclasses.dataclass(frozen=True)
class _Encoder:
    """Arrow rows to (features, label[, weight])."""

    schema: Schema
    vocabularies: Mapping[str, Vocabulary]
    implicit: bool
    weight: str | None

    def __post_init__(self) -> None:
        for feature in self.schema.features:
            if isinstance(feature, Numeric) and feature.shape == ():
                continue
            if not isinstance(feature, Categorical):
                raise ValueError(
                    "stream_parquet: reads Categorical features and Numeric ones of size 1; "
                    f"received {feature!r}. Read the rows into memory for the others."
                )
            vocabulary = self.vocabularies.get(feature.name)
            if vocabulary is None or vocabulary.num_ids != feature.num_ids:
                found = "none" if vocabulary is None else f"one of {vocabulary.num_ids} ids"
                raise ValueError(
                    f"stream_parquet: {feature!r} needs a vocabulary of that many ids; received "
                    f"{found}. Pass the vocabularies that made the schema."
                )

    @property
    def names(self) -> list[str]:
        """Columns to read."""
        names = [feature.name for feature in self.schema.features]
        names += [] if self.implicit else [self.schema.label]
        return names + ([] if self.weight is None else [self.weight])

    def arrays(self, table: pa.Table) -> Arrays:
        schema, user, item = self.schema, self.schema.user_id.name, self.schema.item_id.name
        rows = Interactions.from_table(
            table,
            user=user,
            item=item,
            label=None if self.implicit else schema.label,
            time=None,
            context=[f.name for f in schema.features if f.name not in (user, item)],
            duplicates="keep",
        )
        encoded = encode(rows, self.vocabularies)
        features = {feature.name: encoded[feature.name] for feature in schema.features}
        label = np.ones(len(rows), np.float32) if self.implicit else encoded[schema.label]
        if self.weight is None:
            return features, label
        weights = {self.weight: table[self.weight].to_numpy()}
        return features, label, check.weights(weights, self.weight, "stream_parquet")


def _files(paths: Paths) -> list[pathlib.Path]:
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: list[pathlib.Path] = []
    for path in map(pathlib.Path, given):
        found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            raise ValueError(
                f"stream_parquet: expected a Parquet file, or a folder with files named *.parquet; "
                f"there is none at {str(path)!r}."
            )
        files += found
    if not files:
        raise ValueError("stream_parquet: received no paths.")
    return files


def _row_groups(path: pathlib.Path, encoder: _Encoder) -> list[_RowGroup]:
    owner = f"stream_parquet: {path}"
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
            groups.append(_RowGroup(path, metadata, index, group.num_rows))
    return groups


def _slices(
    groups: list[_RowGroup], names: list[str], rng: np.random.Generator | None
) -> Iterator[pa.RecordBatch]:
    """Slices of the row groups: in order, or in random order and a few groups in turns."""
    if rng is None:
        yield from (piece for group in groups for piece in group.read(names, SLICE_ROWS))
        return
    waiting = [groups[index] for index in rng.permutation(len(groups))]
    opened: list[Iterator[pa.RecordBatch]] = []
    while waiting or opened:
        while waiting and len(opened) < OPEN_ROW_GROUPS:
            opened.append(waiting.pop().read(names, SLICE_ROWS))
        turn = int(rng.integers(len(opened)))
        piece = next(opened[turn], None)
        if piece is None:
            opened.pop(turn)
        else:
            yield piece


def _joined(slices: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Tables of at least that many rows, because encoding costs one hash table each time."""
    pieces: list[pa.RecordBatch] = []
    count = 0
    for piece in slices:
        pieces.append(piece)
        count += len(piece)
        if count >= rows:
            yield pa.Table.from_batches(pieces)
            pieces, count = [], 0
    if count:
        yield pa.Table.from_batches(pieces)


def _appended(held: Arrays, fresh: Arrays) -> Arrays:
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), held, fresh)
