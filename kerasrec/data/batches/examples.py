"""`tf.data` batches of (features, label[, weight]) from numpy columns.

numpy shuffles the rows, cuts them into batches and adds negatives, a few hundred thousand numbers
at a time, while the previous block trains. `unbatch` then returns the batches of a block one by
one. Shuffling single examples in `tf.data` would cost several times as much.

Every dataset here is deterministic. Its first epoch depends on the seed alone. Each further epoch
over the same object is shuffled again and has new negatives, in the same way in every run. For
negatives that never change, as on validation rows, append `.cache()`. The rows are already
shuffled. `fit` of a model that is not of kerasrec warns of that unless `shuffle=False` is passed.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec._checks import check_integer, check_share
from kerasrec.data.batches import blocks
from kerasrec.data.batches.blocks import (
    Arrays,
    block_dataset,
    count_batches,
    cut_blocks,
    hiding,
    kept_negatives,
    row_taker,
)
from kerasrec.data.batches.negatives import NegativeSampler
from kerasrec.data.encoding import columns as check
from kerasrec.data.encoding.columns import LazyColumn
from kerasrec.data.encoding.positives import positive_rows
from kerasrec.data.encoding.sequences import add_history
from kerasrec.schema import FIRST_ID, Schema

LazyColumns = Mapping[str, np.ndarray | LazyColumn]


def pointwise(
    columns: LazyColumns,
    schema: Schema,
    *,
    batch_size: int,
    shuffle: bool = True,
    seed: int = 0,
    weight: str | None = None,
    negative_share: float = 1.0,
    unknown_share: float = 0.0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch rows with their labels.

    Args:
        columns: encoded columns with the features and the label of the schema. Others are ignored.
            A sequence may be a `History`.
        schema: names and sizes of the features and the label.
        batch_size: rows per batch, over all replicas of a distribution strategy.
        shuffle: whether to reorder the rows in each epoch.
        seed: seed of the order, and of what is drawn.
        weight: name of a column of sample weights.
        negative_share: share of the rows with label 0 in an epoch, drawn again in each epoch. What
            a model learns from them is to be corrected by log(share), see `kerasrec.runs`.
        unknown_share: share of the ids replaced by the unknown id, drawn again in each epoch, so
            that the unknown id is trained.
        drop_remainder: whether to leave out the last rows that do not fill a batch.

    Returns:
        Dataset of (dict of int32 ids and float32 numbers `(batch, ...)`, float32 label
        `(batch,)`[, float32 weight `(batch,)`]), with known cardinality.

    Raises:
        ValueError: if a column does not fit the schema, is empty or holds NaN, or an argument is
            out of range.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 6)])
    >>> columns = {"user": np.array([2, 2, 3]), "item": np.array([4, 5, 2])}
    >>> columns["label"] = np.array([5, 3, 1], np.float32)
    >>> for features, label in pointwise(columns, schema, batch_size=2, shuffle=False):
    ...     print(features["item"].numpy(), label.numpy())
    [4 5] [5. 3.]
    [2] [1.]
    """
    owner = "pointwise"
    features = check.features(columns, schema.features, schema, owner)
    values = [check.numbers(columns, schema.label, owner)]
    if weight is not None:
        values.append(check.weights(columns, weight, owner))
    check.check_rows(columns, [*features, schema.label, *([weight] if weight else [])], owner)

    hide, take = hiding(owner, schema, unknown_share), row_taker(features)
    check_share(owner, "negative_share", negative_share, zero=False, numpy=True)
    negatives = np.flatnonzero(values[0] == 0)
    left_out = len(negatives) - kept_negatives(values[0], negative_share)

    def make(rows: np.ndarray, rng: np.random.Generator, batches: int) -> Arrays:
        shown = hide(take(rows), rng)
        return shown, *(v[rows] for v in values)

    def draw(rng: np.random.Generator) -> np.ndarray:
        return np.delete(np.arange(len(values[0])), rng.permutation(negatives)[:left_out])

    rows = len(values[0]) - left_out
    return row_batches(
        owner, make, rows, batch_size, shuffle, seed, drop_remainder, draw if left_out else None
    )


def with_negatives(
    columns: LazyColumns,
    schema: Schema,
    *,
    batch_size: int,
    negatives: int = 4,
    seen: Mapping[str, np.ndarray] | None = None,
    allow_seen: bool = False,
    popularity: np.ndarray | None = None,
    items: Mapping[str, np.ndarray] | None = None,
    unknown_share: float = 0.0,
    shuffle: bool = True,
    seed: int = 0,
    weight: str | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch positives (column 0, label 1), each with items its user has not seen (label 0).

    Rows that are not positives by `Schema.positive` are not trained on and only count as seen.
    Without a label column, every row is a positive. Rows of unknown items are left out, since the
    unknown item is never drawn as a negative.

    The query features of a positive and its negatives are stored, looked up and trained once. A
    batch holds `batch_size // (1 + negatives)` of these groups. A pointwise loss over them is the
    loss over single pairs. `NegativeSampler` draws new negatives in each epoch, with replacement.

    Args:
        columns: encoded columns. If there is a label, only the positives are used.
        schema: names and sizes of the features, and which labels are positives.
        batch_size: largest number of pairs per batch, negatives included.
        negatives: items drawn per positive.
        seen: columns of further (user, item) pairs never to draw, such as the validation rows. The
            pairs of `columns` are never drawn either, except for the shared unknown user.
        allow_seen: whether to draw any item, seen or not.
        popularity: sampling weight of each real item `(num_ids - 2,)`, such as
            `vocabulary.counts ** 0.75`; None for equal weights.
        items: item features by encoded id `(num_ids, ...)`, such as `PreparedData.items`. Models
            that read only the item id need none.
        unknown_share: see `pointwise`. Applies to users and items, drawn ones too.
        shuffle: whether to reorder the positives in each epoch.
        weight: name of a column of sample weights of the positives, each for its whole group.
        seed: see `pointwise`.
        drop_remainder: see `pointwise`.

    Returns:
        Dataset of (dict of query features `(groups, ...)` and item features
        `(groups, 1 + negatives, ...)`, float32 label `(groups, 1 + negatives)`[, float32 weight
        `(groups,)`]).

    Raises:
        ValueError: as in `pointwise`, without positives, if a user has seen every item, `seen` is
            given with `allow_seen`, or a batch is too small for one group.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 6)])
    >>> columns = {"user": np.array([2, 2], np.int32), "item": np.array([3, 4], np.int32)}
    >>> dataset = with_negatives(columns, schema, batch_size=6, negatives=2, shuffle=False)
    >>> features, label = next(iter(dataset))
    >>> features["item"].shape, bool(np.isin(features["item"][:, 1:], [2, 5]).all())
    (TensorShape([2, 3]), True)
    >>> label.numpy().tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    owner = "with_negatives"
    check_integer(owner, "negatives", negatives, 0, numpy=True)
    check_integer(owner, "batch_size", batch_size, 1, numpy=True)
    group = 1 + negatives
    if batch_size < group:
        raise ValueError(
            f"{owner}: batch_size counts pairs, so it must be at least 1 + negatives = {group}; "
            f"received {batch_size}."
        )
    rows = _Candidates.of(owner, columns, schema, items, seen, allow_seen, popularity)
    hide = hiding(owner, schema, unknown_share)
    weights = () if weight is None else (check.weights(columns, weight, owner),)
    check.check_rows(columns, [schema.item_id.name, *([weight] if weight else [])], owner)
    if negatives:
        rows.sampler.check_users(rows.users())

    def make(chosen: np.ndarray, rng: np.random.Generator, batches: int) -> Arrays:
        features = rows.features(chosen, rows.sampler.sample(rows.users(chosen), negatives, rng))
        label = np.zeros((len(chosen), group), np.float32)
        label[:, 0] = 1
        return hide(features, rng), label, *(v[rows.positives[chosen]] for v in weights)

    groups = batch_size // group
    return row_batches(owner, make, len(rows.positives), groups, shuffle, seed, drop_remainder)


def shared_negatives(
    columns: LazyColumns,
    schema: Schema,
    *,
    batch_size: int,
    negatives: int = 256,
    seen: Mapping[str, np.ndarray] | None = None,
    allow_seen: bool = True,
    popularity: np.ndarray | None = None,
    items: Mapping[str, np.ndarray] | None = None,
    unknown_share: float = 0.0,
    shuffle: bool = True,
    seed: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch positives (column 0) with drawn items that all rows of the batch share.

    Positives are the rows that `with_negatives` trains on.

    The batches are for a softmax over candidates. The label is the column of the positive, 0, as
    `SparseCategoricalCrossentropy(from_logits=True)` expects. Since the items are shared, some are
    accidental hits: a row's positive, or another item its user has seen. They stay, unless
    `allow_seen=False` draws each of them again for its own row.

    Args:
        columns: see `with_negatives`.
        schema: see `with_negatives`.
        batch_size: positives per batch.
        negatives: items drawn per batch, with replacement.
        seen: with `allow_seen=False`, columns of further (user, item) pairs to draw again.
        allow_seen: whether to keep accidental hits.

    Returns:
        Dataset of (dict of query features `(batch, ...)` and item features
        `(batch, 1 + negatives, ...)`, int32 zeros `(batch,)`).

    Raises:
        ValueError: as in `with_negatives`.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 6)])
    >>> columns = {"user": np.array([2, 3], np.int32), "item": np.array([3, 4], np.int32)}
    >>> features, label = next(iter(shared_negatives(columns, schema, batch_size=2, negatives=9)))
    >>> features["item"].shape, label.numpy().tolist()
    (TensorShape([2, 10]), [0, 0])
    """
    owner = "shared_negatives"
    check_integer(owner, "negatives", negatives, 1, numpy=True)
    rows = _Candidates.of(owner, columns, schema, items, seen, allow_seen, popularity)
    hide = hiding(owner, schema, unknown_share)
    rows.sampler.check_users(rows.users())

    def make(chosen: np.ndarray, rng: np.random.Generator, batches: int) -> Arrays:
        shared = rows.sampler.draw((batches, negatives), rng)
        drawn = np.repeat(shared, len(chosen) // batches, axis=0)  # (rows, negatives)
        drawn = rows.sampler.replace_seen(rows.users(chosen), drawn, rng)
        return hide(rows.features(chosen, drawn), rng), np.zeros(len(chosen), np.int32)

    return row_batches(owner, make, len(rows.positives), batch_size, shuffle, seed, drop_remainder)


def histories(
    columns: Mapping[str, np.ndarray],
    schema: Schema,
    *,
    batch_size: int,
    time: str | None = "",
    past: Mapping[str, np.ndarray] | None = None,
    min_history: int = 0,
    shuffle: bool = True,
    seed: int = 0,
    weight: str | None = None,
    unknown_share: float = 0.0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch rows with the user's earlier items, right-padded with 0 and newest last.

    This is `pointwise` over `kerasrec.data.add_history`. For histories with negatives, pass the
    result of `add_history` to `with_negatives` or `shared_negatives`.

    Args:
        columns: encoded columns with the label and, unless `time` is None, the time.
        schema: has an `IdSequence` of the item id among its user or context features.
        time: see `add_history`.
        past: see `add_history`.
        min_history: see `add_history`.
        batch_size: see `pointwise`.
        shuffle: see `pointwise`.
        seed: see `pointwise`.
        weight: see `pointwise`.
        drop_remainder: see `pointwise`.
        unknown_share: see `pointwise`. Applies to each item of a history separately.

    Returns:
        Dataset as of `pointwise`, with int32 `(batch, max_length)` for each sequence.

    Raises:
        ValueError: as in `pointwise` and `add_history`.

    Example:

    >>> from kerasrec.schema import Categorical, IdSequence
    >>> history = IdSequence("history", of="item", max_length=3)
    >>> schema = Schema(user=[Categorical("user", 4), history], item=[Categorical("item", 9)])
    >>> columns = {"user": np.array([2, 2, 2]), "item": np.array([7, 5, 6])}
    >>> columns["label"] = np.ones(3, np.float32)
    >>> columns["timestamp"] = np.array([30, 10, 20])
    >>> features, label = next(iter(histories(columns, schema, batch_size=3, shuffle=False)))
    >>> features["history"].numpy().tolist()
    [[5, 6, 0], [0, 0, 0], [5, 0, 0]]
    """
    return pointwise(
        add_history(columns, schema, time=time, past=past, min_history=min_history),
        schema,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        weight=weight,
        unknown_share=unknown_share,
        drop_remainder=drop_remainder,
    )


def row_batches(
    owner: str,
    make: Callable[[np.ndarray, np.random.Generator, int], Any],
    rows: int,
    batch_size: int,
    shuffle: bool,
    seed: int,
    drop_remainder: bool,
    draw: Callable[[np.random.Generator], np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Build batches from `make(rows, rng, batches)`, with `batch_size` source rows each.

    `draw` returns the rows of an epoch, always as many; None for all `rows`.
    """
    check_integer(owner, "batch_size", batch_size, 1, numpy=True)
    check_integer(owner, "seed", seed, 0, numpy=True)
    batches = count_batches(owner, rows, batch_size, drop_remainder)
    example = next(cut_blocks(make(np.zeros(1, np.int64), np.random.default_rng(0), 1), 1))
    size = batch_size * sum(array.size for array in tf.nest.flatten(example))
    step = max(1, blocks.BLOCK_VALUES // size)

    def one_epoch(number: int) -> Iterator[Arrays]:
        rng = np.random.default_rng([seed, number])
        order = np.arange(rows, dtype=np.int32 if rows < 2**31 else np.int64)
        if draw is not None:
            order = draw(rng)
        if shuffle:
            rng.shuffle(order)
        whole = rows // batch_size
        for first in range(0, whole, step):
            count = min(step, whole - first)
            chosen = order[first * batch_size : (first + count) * batch_size]
            yield from cut_blocks(make(chosen, rng, count), count)
        if whole < batches:
            yield from cut_blocks(make(order[whole * batch_size :], rng, 1), 1)

    all_alike = drop_remainder or rows % batch_size == 0
    batch_rows = batch_size if all_alike else None
    return block_dataset(one_epoch, example, batches=batches, rows=batch_rows)


@dataclasses.dataclass(frozen=True)
class _Candidates:
    """Positive rows, and the features of a query with its own item and drawn ones."""

    schema: Schema
    queries: dict[str, Any]
    items: np.ndarray
    tables: dict[str, Any]  # other item features by item id
    positives: np.ndarray
    sampler: NegativeSampler

    @classmethod
    def of(
        cls,
        owner: str,
        columns: LazyColumns,
        schema: Schema,
        items: Mapping[str, np.ndarray] | None,
        seen: Mapping[str, np.ndarray] | None,
        allow_seen: bool,
        popularity: np.ndarray | None,
    ) -> "_Candidates":
        """Validate the columns, and find the positives of known items and what may be drawn."""
        item = schema.item_id
        queries = check.features(columns, schema.query, schema, owner)
        own = check.user_or_item(columns, item, owner)
        labels = [schema.label] if schema.label in columns else []
        check.check_rows(columns, [*queries, item.name, *labels], owner)
        others = tuple(feature for feature in schema.item if feature != item)
        if others and items is None:
            raise ValueError(
                f"{owner}: drawn items need their features {[f.name for f in others]} too; pass "
                f"items, a dict of arrays with one row per item id ({item.num_ids}), such as "
                "PreparedData.items."
            )
        tables = check.features(items or {}, others, schema, f"{owner}: items")
        for name, table in tables.items():
            if len(table) != item.num_ids:
                raise ValueError(
                    f"{owner}: items[{name!r}] needs one row per item id, padding and "
                    f"unknown included: {item.num_ids}; received {len(table)}."
                )
        rows = positive_rows(columns, schema, owner)
        positives = rows[own[rows] >= FIRST_ID]  # the unknown item is never drawn as a negative
        if not len(positives):
            raise ValueError(
                f"{owner}: the items of all {len(rows)} positive rows are unknown, and unknown "
                "items are not learned as choices. Fit the vocabularies on these rows."
            )
        if allow_seen:
            if seen is not None:
                raise ValueError(
                    f"{owner}: received `seen` pairs and allow_seen=True, which ignores them. Pass "
                    "one of the two."
                )
            sampler = NegativeSampler(schema, popularity=popularity)
        else:
            parts = [columns] if seen is None else [columns, seen]
            pairs = {
                feature.name: np.concatenate([check.user_or_item(p, feature, owner) for p in parts])
                for feature in (schema.user_id, item)
            }
            # The unknown user stands for many users, who together may have seen every item.
            known = pairs[schema.user_id.name] >= FIRST_ID
            pairs = {name: ids[known] for name, ids in pairs.items()}
            sampler = NegativeSampler(schema, seen=pairs, popularity=popularity)
        return cls(schema, queries, own, tables, positives, sampler)

    def users(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the users of some of the positives."""
        return np.asarray(self.queries[self.schema.user_id.name][self.positives[chosen]])

    def features(self, chosen: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
        """Return the features of some of the positives, each with the items drawn for it."""
        rows = self.positives[chosen]
        items = np.concatenate([self.items[rows, None], drawn], axis=1)  # (rows, 1 + drawn)
        features = {name: query[rows] for name, query in self.queries.items()}
        features[self.schema.item_id.name] = items
        return features | {name: table[items] for name, table in self.tables.items()}
