"""`tf.data.Dataset` of batches that numpy makes in blocks."""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec._checks import check_share
from kerasrec.schema import FIRST_ID, UNKNOWN_ID, Schema

# Numbers in one block: large enough to hide the cost of calling Python from tf.data, small enough
# to stay in the cache and to overlap with training.
BLOCK_VALUES = 1 << 18

READY_BATCHES = 4

# Columns to take rows from are copied side by side up to this size.
SIDE_BY_SIDE_BYTES = 1 << 30

# Epochs of one dataset that can run side by side. Beyond these, the oldest must be regenerated
# when it continues.
RUNNING_PASSES = 4

Arrays = tuple[Any, ...]  # (features by name, label[, weight])


def block_dataset(
    blocks: Callable[[int], Iterator[Arrays]], example: Arrays, *, batches: int, rows: int | None
) -> tf.data.Dataset:
    """Build a dataset of batches from blocks that Python makes in the background.

    This does not use `Dataset.from_generator`. On Python 3.11 and later that sets glibc's
    `M_MMAP_THRESHOLD` to 128 KiB for the process. From then on every larger tensor of the training
    is mapped, zeroed page by page and unmapped again, which took up to three quarters of an epoch.

    `blocks` makes an epoch from its number, always the same for the same number: nested arrays
    `(batches of the block, rows of a batch, ...)`. `example` is one such block. An epoch has so
    many `batches` of so many `rows`, None if the last one differs.
    """
    passes = _Passes(blocks, example)

    def block(number: tf.Tensor, index: tf.Tensor) -> Any:
        arrays = tf.numpy_function(passes.block, [number, index], passes.dtypes)
        for tensor, array in zip(arrays, tf.nest.flatten(example), strict=True):
            tensor.set_shape((None, rows, *array.shape[2:]))
        return tf.nest.pack_sequence_as(example, arrays)

    def one_epoch(_: tf.Tensor) -> tf.data.Dataset:
        number = tf.numpy_function(passes.start, [], tf.int64)
        dataset = tf.data.Dataset.counter().map(lambda index: block(number, index))
        return dataset.take_while(lambda *arrays: tf.shape(tf.nest.flatten(arrays)[0])[0] > 0)

    options = tf.data.Options()
    # The autotuner can stall `fit` for seconds at the end of an epoch, with nothing to tune here.
    options.autotune.enabled = False
    # There are no files to shard. All workers make the same batches and each takes its part.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = tf.data.Dataset.from_tensors(0).flat_map(one_epoch).prefetch(1).unbatch()
    # Slice the next batch out of its block while a step runs.
    dataset = dataset.prefetch(READY_BATCHES)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches)).with_options(options)
    # To continue a training in a new process, see `kerasrec.callbacks.ExactResume`.
    dataset.go_to_pass = passes.go_to
    return dataset


def without_labels(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Leave the labels out of batches, for trainers that take every row as a positive.

    Args:
        dataset: batches of (features, label[, weight]).

    Returns:
        Dataset of features, or of (features, (), weight).

    Example:

    >>> rows = tf.data.Dataset.from_tensor_slices(({"user": [2, 3]}, [1.0, 1.0])).batch(2)
    >>> next(iter(without_labels(rows)))["user"].numpy().tolist()
    [2, 3]
    """
    # Replicas cannot share out a batch with None in it, but one with an empty tuple.
    made = dataset.map(lambda x, y, *weight: (x, (), *weight) if weight else x)
    for name in ("part", "go_to_pass"):  # for several workers, and for `ExactResume`
        if hasattr(dataset, name):
            setattr(made, name, getattr(dataset, name))
    return made


class _Passes:
    """Blocks of each epoch, by number and position.

    The latest epochs are kept as running iterators. An epoch that was dropped, because it was
    abandoned or too many others ran beside it, is regenerated up to the requested block.
    """

    def __init__(self, blocks: Callable[[int], Iterator[Arrays]], example: Arrays) -> None:
        self._blocks = blocks
        self._end = [array[:0] for array in tf.nest.flatten(example)]
        self._next = 0
        self._running: dict[int, tuple[int, Iterator[Arrays]]] = {}
        self._lock = threading.Lock()
        self.dtypes = [array.dtype for array in self._end]

    def start(self) -> np.int64:
        """Return the number of a new epoch."""
        with self._lock:
            self._next += 1
            return np.int64(self._next - 1)

    def go_to(self, number: int) -> None:
        """Set the number of the next epoch, counted from 0."""
        with self._lock:
            self._next = number

    def block(self, number: int, index: int) -> list[np.ndarray]:
        """Return one block, flattened, or an empty one at the end of the epoch."""
        with self._lock:
            number, index = int(number), int(index)
            position, arrays = self._running.pop(number, (0, None))
            if arrays is None or position > index:
                position, arrays = 0, self._blocks(number)
            made = next(itertools.islice(arrays, index - position, None), None)
            if made is None:
                return self._end
            self._running[number] = index + 1, arrays
            for old in list(self._running)[:-RUNNING_PASSES]:
                del self._running[old]
            return tf.nest.flatten(made)


def cut_blocks(arrays: Arrays, batches: int) -> Iterator[Arrays]:
    """Cut rows `(rows, ...)` of equal batches into blocks of about `BLOCK_VALUES` numbers."""
    shaped = tf.nest.map_structure(lambda a: a.reshape(batches, -1, *a.shape[1:]), arrays)
    step = max(1, batches * BLOCK_VALUES // sum(a.size for a in tf.nest.flatten(arrays)))
    for first in range(0, batches, step):
        yield take_rows(shaped, slice(first, first + step))


def take_rows(arrays: Arrays, rows: np.ndarray | slice) -> Arrays:
    """Take some rows of nested arrays."""
    return tf.nest.map_structure(lambda array: array[rows], arrays)


def row_taker(columns: Mapping[str, Any]) -> Callable[[np.ndarray], dict[str, Any]]:
    """Make a function that takes some rows of all columns.

    Columns of one dtype are copied side by side when the first rows are taken. A row then lies in a
    few cache lines, and random rows of 40 columns take a tenth of the time. A memory map stays on
    disk, and beyond `SIDE_BY_SIDE_BYTES` columns are read where they are.

    Example:

    >>> take = row_taker({"user": np.array([2, 3, 4]), "item": np.array([7, 8, 9])})
    >>> {name: ids.tolist() for name, ids in take(np.array([2, 0])).items()}
    {'user': [4, 2], 'item': [9, 7]}
    """
    groups: dict[np.dtype[Any], list[str]] = {}
    for name, column in columns.items():
        if type(column) is np.ndarray and column.ndim == 1 and not column.dtype.hasobject:
            groups.setdefault(column.dtype, []).append(name)
    groups = {dtype: names for dtype, names in groups.items() if len(names) > 1}
    if sum(columns[n].nbytes for names in groups.values() for n in names) > SIDE_BY_SIDE_BYTES:
        groups = {}
    tables: list[tuple[list[str], np.ndarray]] = []

    def take(rows: np.ndarray) -> dict[str, Any]:
        rows = rows.astype(np.intp, copy=False)
        for dtype in list(groups):
            names = groups.pop(dtype)
            tables.append((names, np.stack([columns[name] for name in names], axis=1)))
        taken: dict[str, Any] = {}
        for names, table in tables:
            taken |= zip(names, np.ascontiguousarray(table.take(rows, axis=0).T), strict=True)
        return {n: taken[n] if n in taken else column[rows] for n, column in columns.items()}

    return take


def count_batches(owner: str, rows: int, batch_size: int, drop_remainder: bool) -> int:
    """Count the batches of an epoch, at least one."""
    if drop_remainder and rows < batch_size:
        raise ValueError(
            f"{owner}: drop_remainder leaves nothing of {rows} rows, because one batch takes "
            f"{batch_size}. Lower batch_size or keep the remainder."
        )
    return rows // batch_size if drop_remainder else -(-rows // batch_size)


def kept_negatives(labels: np.ndarray, share: float) -> int:
    """Return how many rows of label 0 an epoch of `pointwise` holds: a share of them, at least one.

    Args:
        labels: of the rows.
        share: share of the rows with label 0.
    """
    negatives = int(np.count_nonzero(labels == 0))
    return min(negatives, max(1, round(share * negatives)))


def hiding(
    owner: str, schema: Schema, share: float
) -> Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]:
    """Make a function that replaces each id of a block by the unknown id with this probability.

    Training rows contain no unknown ids, unless rare ids were left out of the vocabulary. Without
    this function the embedding of the unknown id would keep its initial value.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> hide = hiding("example", Schema(Categorical("user", 9), Categorical("item", 9)), 0.7)
    >>> block = {"user": np.arange(8), "item": np.arange(8)}
    >>> hide(block, np.random.default_rng(0))["item"].tolist()
    [0, 1, 1, 3, 1, 1, 6, 7]
    """
    check_share(owner, "unknown_share", share, one=False)
    names = [feature.name for feature in schema.features if feature.has_ids]

    def hide(features: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if not share:
            return features
        shown = dict(features)
        for name in names:
            ids = features[name]
            hidden = (rng.random(ids.shape, np.float32) < share) & (ids >= FIRST_ID)
            shown[name] = np.where(hidden, np.int32(UNKNOWN_ID), ids)
        return shown

    return hide
