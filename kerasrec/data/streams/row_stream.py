"""Streamed batches: rows read in pieces, encoded, and shuffled in a bounded buffer."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import tensorflow as tf

from kerasrec._checks import check_integer
from kerasrec.data.batches.blocks import Arrays, block_dataset, cut_blocks, take_rows
from kerasrec.data.encoding import columns as check
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.streams.sharding import Group, share
from kerasrec.data.tables.arrow import to_float32
from kerasrec.data.tables.interactions import Interactions
from kerasrec.schema import Schema

# Rows read from a group at a time, and number of groups read in turns. This spreads neighbours in a
# file (often of one user or one day) over the buffer.
SLICE_ROWS = 1 << 14
OPEN_GROUPS = 4


@dataclasses.dataclass(frozen=True)
class RowEncoder:
    """Encoder of Arrow rows to (features, label[, weight])."""

    owner: str  # calling function, named in error messages
    schema: Schema  # of single values
    vocabularies: Mapping[str, Vocabulary]
    implicit: bool  # every label is 1
    weight: str | None  # name of a column of sample weights

    def __post_init__(self) -> None:
        for feature in self.schema.features:
            if feature.shape != ():
                raise ValueError(
                    f"{self.owner}: reads Categorical features and Numeric ones of size 1; "
                    f"received {feature!r}. Read the rows into memory for the others."
                )
            if not feature.has_ids:
                continue
            vocabulary = self.vocabularies.get(feature.name)
            if vocabulary is None or vocabulary.num_ids != self.schema.num_ids(feature.name):
                found = "none" if vocabulary is None else f"one of {vocabulary.num_ids} ids"
                raise ValueError(
                    f"{self.owner}: {feature!r} needs a vocabulary of that many ids; received "
                    f"{found}. Pass the vocabularies that made the schema."
                )

    @property
    def names(self) -> list[str]:
        """Return the columns to read."""
        names = [feature.name for feature in self.schema.features]
        names += [] if self.implicit else [self.schema.label]
        return names + ([] if self.weight is None else [self.weight])

    def arrays(self, table: pa.Table) -> Arrays:
        """Encode a table to nested numpy arrays `(rows,)`."""
        schema, encoded = self.schema, {}
        for feature in schema.features:
            name = feature.name
            if not feature.has_ids:
                encoded[name] = to_float32(table[name], f"{self.owner}: column {name!r}")
            else:  # text is looked up directly, without a dictionary of its distinct values
                encoded[name] = self.vocabularies[name].encode(table[name])
        if not self.implicit:
            encoded[schema.label] = table[schema.label]
        rows = Interactions.from_table(
            encoded,
            user=schema.user_id.name,
            item=schema.item_id.name,
            label=None if self.implicit else schema.label,
            time=None,
            context=[f.name for f in schema.features if not f.has_ids],
            duplicates="keep",
        )
        features = {
            feature.name: encoded[feature.name] if feature.has_ids else rows.column(feature.name)
            for feature in schema.features
        }
        label = np.ones(len(rows), np.float32) if self.implicit else rows.column(schema.label)
        if self.weight is None:
            return features, label
        weights = {self.weight: table[self.weight].to_numpy()}
        return features, label, check.weights(weights, self.weight, self.owner)


def row_stream(
    groups: Sequence[Group],
    encoder: RowEncoder,
    batch_size: int,
    shard: tuple[int, int] | None,
    shuffle: bool,
    buffer_rows: int,
    seed: int,
    drop_remainder: bool,
) -> tf.data.Dataset:
    """Build a dataset of batches of the rows of groups.

    Each pass deals the groups again, depending only on the seed and the number of the pass, so that
    workers agree without communication. A worker reads its part, several groups in turns, slice by
    slice, into a buffer that is repeatedly shuffled and half emptied. The arguments are those of
    `stream_parquet`.
    """
    owner = encoder.owner
    check_integer(owner, "batch_size", batch_size, 1, numpy=True)
    check_integer(owner, "seed", seed, 0, numpy=True)
    check_integer(owner, "buffer_rows", buffer_rows, 1, numpy=True)
    rows = sum(group.rows for group in groups)
    if not rows:
        raise ValueError(f"{owner}: the files have no rows.")
    part = share(owner, rows, batch_size, shard, drop_remainder)
    example = take_rows(encoder.arrays(_table([next(groups[0].read(0, 1))])), slice(1))
    kept = max(buffer_rows, 2 * part.own_batch) // 2

    def blocks(number: int) -> Iterator[Arrays]:
        order = np.random.default_rng([seed, number]).permutation(len(groups))
        pieces = part.pieces([groups[at] for at in order] if shuffle else groups)
        rng = np.random.default_rng([seed, number, part.index])
        tables = _joined(_slices(pieces, rng if shuffle else None), kept)
        held = take_rows(example, slice(0))
        for table in itertools.chain(tables, [None]):  # None: no more rows come
            if table is not None:
                held = tf.nest.map_structure(_append, held, encoder.arrays(table))
                if shuffle:
                    held = take_rows(held, rng.permutation(len(held[1])))
            spare = kept if shuffle and table is not None else 0
            ready = max(0, len(held[1]) - spare) // part.own_batch
            if ready:
                whole = ready * part.own_batch
                yield from cut_blocks(take_rows(held, slice(0, whole)), ready)
                held = take_rows(held, slice(whole, None))
        if len(held[1]):
            yield from cut_blocks(held, 1)

    dataset = block_dataset(
        blocks,
        next(cut_blocks(example, 1)),
        batches=part.batches,
        rows=part.own_batch if part.all_alike else None,
    )
    dataset.part = part
    return dataset


def _slices(
    pieces: Sequence[tuple[Group, int, int]], rng: np.random.Generator | None
) -> Iterator[pa.Table | pa.RecordBatch]:
    """Read slices of the pieces in order, or several pieces in random turns."""
    waiting = [group.read(start, stop) for group, start, stop in reversed(pieces)]
    if rng is None:
        yield from itertools.chain.from_iterable(reversed(waiting))
        return
    opened: list[Iterator[pa.Table | pa.RecordBatch]] = []
    while waiting or opened:
        while waiting and len(opened) < OPEN_GROUPS:
            opened.append(waiting.pop())
        turn = int(rng.integers(len(opened)))
        piece = next(opened[turn], None)
        if piece is None:
            opened.pop(turn)
        else:
            yield piece


def _joined(slices: Iterator[pa.Table | pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Join slices to tables of at least `rows` rows, since encoding has a fixed cost."""
    pieces: list[pa.Table | pa.RecordBatch] = []
    for piece in slices:
        pieces.append(piece)
        if sum(map(len, pieces)) >= rows:
            yield _table(pieces)
            pieces = []
    if pieces:
        yield _table(pieces)


def _table(pieces: Sequence[pa.Table | pa.RecordBatch]) -> pa.Table:
    return pa.concat_tables([pa.table(piece) for piece in pieces])


def _append(held: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    return np.concatenate([held, fresh])
