"""Recommendations and similar items of a trained model in Python, with raw ids in and out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec._checks import check_integer
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.retrieval.catalogue import RecommendedItems
from kerasrec.retrieval.columns import (
    candidate_columns,
    check_column,
    check_vocabularies,
    side_columns,
    unknown_queries,
)
from kerasrec.retrieval.exact import TopK
from kerasrec.retrieval.index import (
    ExactIndex,
    one_item_scores,
    pair_scores,
    part_scores,
    products,
)
from kerasrec.retrieval.item_vectors import in_blocks, item_vectors, similarity
from kerasrec.retrieval.vector_table import VectorTable
from kerasrec.schema import FIRST_ID, PADDING_ID, Schema
from kerasrec.types import (
    RAW_PADDING,
    Columns,
    Features,
    ListRanker,
    OneItemRanker,
    Ranker,
    Retriever,
    Tensor,
    has_own_parts,
)

# Queries computed at once, numbers in their features, and scores of a model of pairs.
_QUERIES = 512
_VALUES = 2**16
_PAIRS = 2**16


def recommend(
    model: Ranker,
    vocabularies: Mapping[str, Encoder],
    user_ids: Any,
    k: int = 10,
    *,
    seen: Columns | Sequence[Columns] | None = None,
    exclude_seen: bool = True,
    queries: Columns | None = None,
    users: Columns | None = None,
    items: Columns | None = None,
    candidates: Any = None,
) -> RecommendedItems:
    """Return the k best items for each user, as an export of the model would.

    A retriever is searched by dot products, a pipeline makes the lists itself, and any other model
    scores every pair of user and item, from parts computed once if it has them (`PartsRanker`).
    Ties are in vocabulary order. A user about whom nothing is known gets the most popular items:
    `fallback` is true and the score is the training count. For a model of a history this is a user
    without known items, for a model that looks up the items of a user one without positives, for
    any other model a user without training rows and other features.

    Args:
        model: any model with a `schema` that scores pairs.
        vocabularies: vocabulary by feature name, as used to encode the training data.
        user_ids: distinct raw user ids.
        k: length of the lists. `count` tells how many slots are filled.
        seen: encoded users and items of earlier rows, the newest of each user last, such as
            `PreparedData.seen()`; or several such columns, the oldest first. They make the
            histories that the model reads, and are left out of the lists.
        exclude_seen: whether to leave seen items out.
        queries: encoded context features that the model reads, one row per user. User features
            here take the place of those in `users`.
        users: encoded user features with one row for each encoded id, as `PreparedData.users`; None
            if the model reads none, or they are all in `queries`.
        items: encoded item features, likewise; None if the id is the only item feature.
        candidates: encoded ids of the items that may be recommended; None for all.

    Returns:
        `RecommendedItems` of NumPy arrays, one list per user.

    Raises:
        ValueError: if ids repeat, are missing, or have another type than in training, a column is
            missing or badly encoded, the model does not fit the vocabularies, k is not from 1 to
            the number of items, or a score is NaN.

    Example:

    >>> from kerasrec.models import Popularity
    >>> from kerasrec.schema import Categorical
    >>> model = Popularity(Schema(user=Categorical("user", 4), item=Categorical("item", 5)))
    >>> model.adapt({"item": np.array([2, 3, 3, 4, 4, 4])})
    >>> ids = {"user": Vocabulary.fit(["ann", "bob"]), "item": Vocabulary.fit(["x", "y", "z"])}
    >>> seen = {"user": np.array([2, 2]), "item": np.array([2, 4])}  # ann: x and z
    >>> recommend(model, ids, ["ann", "bob"], 2, seen=seen).rows()
    [[('y', 2.0)], [('z', 3.0), ('y', 2.0)]]
    """
    if not isinstance(model, Ranker):
        raise ValueError(
            "recommend: expected a model with a `schema` that is called with a dict of features; "
            f"received {type(model).__name__}."
        )
    schema = model.schema
    user, item = schema.user_id.name, schema.item_id.name
    used = check_vocabularies("recommend", schema, vocabularies, [user, item])
    raw, encoded = _encode("recommend", "users", user_ids, used[user])
    columns = candidate_columns("recommend", schema, items, candidates)
    known = side_columns("recommend", schema, "user", users)
    ids = columns[item]
    hint = f"There are {len(ids)} items."
    check_integer("recommend", "k", k, 1, len(ids), numpy=True, hint=hint)
    counts = used[item].counts[ids - FIRST_ID]
    past = None if seen is None else _Past(schema, seen)
    query = _query(schema, encoded, past, queries or {}, known)
    rows = min(_QUERIES, max(1, _VALUES // sum(column[0].size for column in query.values())))
    blocks = (
        {name: column[start : start + rows] for name, column in query.items()}
        for start in range(0, len(raw), rows)
    )
    positions = np.full(schema.item_id.num_ids, -1, np.int32)
    positions[ids] = np.arange(len(ids), dtype=np.int32)
    if not isinstance(model, ListRanker):
        index, read = _index(model, columns, counts)
    found = []
    for some in blocks:
        exclude = past.newest(some[user], None if exclude_seen else 0) if past else None
        if isinstance(model, ListRanker):
            lists = model.recommend(
                some, k=int(k), candidates=columns, popularity=counts, exclude=exclude
            )
            best = TopK(lists["score"], positions[lists["item"]], lists["count"])
            found.append((*best, lists["fallback"]))
            continue
        unknown = unknown_queries(model, some)
        limits = {} if exclude is None else {"exclude": positions[exclude]}
        best = index.search(read(some), int(k), unknown=tf.constant(unknown), **limits)
        found.append((*best, unknown))
    return _decoded(found, used[item], ids)


def similar_items(
    model: Retriever | OneItemRanker,
    vocabularies: Mapping[str, Encoder],
    item_ids: Any,
    k: int = 10,
    *,
    items: Columns | None = None,
    candidates: Any = None,
) -> RecommendedItems:
    """Return the items most like each item, without the item itself.

    Of a retriever, these are the items with the largest cosine of their vectors, where columns that
    are equal for all items do not count. A `kerasrec.types.OneItemRanker`, such as `ItemKNN`, ranks
    all items for a user who has this item alone.

    Args:
        model: a retriever, or a model that is computed from the rows and ranks for one item.
        vocabularies: vocabulary by feature name, as used to encode the training data.
        item_ids: distinct raw item ids.
        k: length of the lists, less than the number of items.
        items: see `recommend`.
        candidates: see `recommend`.

    Raises:
        ValueError: if the model is neither, an item repeats or is unknown, or as in `recommend`.

    Example:

    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical
    >>> model = MatrixFactorization(Schema(Categorical("user", 4), Categorical("item", 5)))
    >>> ids = {"item": Vocabulary.fit(["x", "y", "z"])}
    >>> similar_items(model, ids, ["x"], 2).item_id.shape
    (1, 2)
    """
    if not isinstance(model, Retriever | OneItemRanker):
        raise ValueError(
            "similar_items: expected a retriever, such as MatrixFactorization; received "
            f"{type(model).__name__}, which has no vectors of items to compare."
        )
    schema: Schema = model.schema
    item = schema.item_id.name
    (vocabulary,) = check_vocabularies("similar_items", schema, vocabularies, [item]).values()
    raw, encoded = _encode("similar_items", "items", item_ids, vocabulary)
    columns = candidate_columns("similar_items", schema, items, candidates)
    ids = columns[item]
    if absent := raw[~np.isin(encoded, ids)].tolist():
        raise ValueError(
            f"similar_items: items must be ids of the training rows and of the candidates, such as "
            f"{vocabulary.ids[ids[0] - FIRST_ID]!r}; received {absent[0]!r}."
        )
    hint = f"There are {len(ids)} items, one of which is the item itself."
    check_integer("similar_items", "k", k, 1, len(ids) - 1, numpy=True, hint=hint)
    places = np.searchsorted(ids, encoded)
    queries: Any = tf.constant(encoded, tf.int32)
    if isinstance(model, Retriever):
        vectors = _numbers(model, item_vectors(model, columns))
        factors, norms = similarity(vectors)
        queries = tf.constant(vectors[places] * factors * norms[places][:, None])
        score = products(VectorTable(vectors), tf.constant(norms))
    else:
        score = one_item_scores(lambda some: _numbers(model, model.scores_of_items(some)), ids)
    index = ExactIndex(score, len(ids))
    found = []
    for start in range(0, len(raw), _QUERIES):
        some = slice(start, start + _QUERIES)
        best = index.search(queries[some], int(k), exclude=places[some, None])
        found.append((*best, np.zeros(len(raw[some]), bool)))
    return _decoded(found, vocabulary, ids)


def _encode(
    owner: str, name: str, raw: Any, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """Return raw ids as an array, and encoded."""
    if isinstance(raw, str | bytes | Mapping | set | frozenset) or not hasattr(raw, "__len__"):
        raise ValueError(f"{owner}: expected a list of {name}, raw ids; received {raw!r:.100}.")
    if not len(raw):
        raise ValueError(f"{owner}: received no {name}; expected at least one raw id.")
    encoded = vocabulary.encode(raw)
    values: np.ndarray = np.asarray(raw)
    distinct, counts = np.unique(values.astype(object), return_counts=True)
    if len(distinct) < len(values):
        raise ValueError(
            f"{owner}: {name} must be distinct; received {distinct[counts.argmax()]!r} "
            f"{counts.max()} times. Pass each id once."
        )
    return values, encoded


class _Past:
    """Seen items of each user, the newest last."""

    def __init__(self, schema: Schema, seen: Any) -> None:
        parts = list(seen) if isinstance(seen, list | tuple) else [seen]
        user, item = (
            np.concatenate([_column(schema, feature, part) for part in parts] or [np.zeros(0, int)])
            for feature in (schema.user_id, schema.item_id)
        )
        if len(user) != len(item):
            raise ValueError(
                f"recommend: seen must hold one user and one item per row; received {len(user)} "
                f"users and {len(item)} items."
            )
        order = np.argsort(user, kind="stable")
        self.users, self.items = user[order], np.append(item[order], PADDING_ID)

    def newest(self, users: np.ndarray, width: int | None = None) -> np.ndarray:
        """Return the newest items of some users, padded with 0 on the right.

        Args:
            users: encoded user ids.
            width: number of items; None for the most that one of the users has.
        """
        last = np.searchsorted(self.users, users, side="right")
        first = np.searchsorted(self.users, users, side="left")
        # Rows of unknown users belong to nobody.
        first = np.where(users < FIRST_ID, last, first)
        width = int((last - first).max()) if width is None else width
        at = np.maximum(first, last - width)[:, None] + np.arange(width)
        return self.items[np.where(at < last[:, None], at, -1)]


def _column(schema: Schema, feature: Any, part: Any) -> np.ndarray:
    if not isinstance(part, Mapping) or feature.name not in part:
        raise ValueError(
            f"recommend: seen must be encoded columns {[schema.user_id.name, schema.item_id.name]}"
            f"; received {sorted(part) if isinstance(part, Mapping) else type(part).__name__}."
        )
    what = f"recommend: seen[{feature.name!r}]"
    return check_column(what, schema, feature, part[feature.name], rows="rows")


def _query(
    schema: Schema, users: np.ndarray, past: _Past | None, given: Columns, known: Columns
) -> dict[str, np.ndarray]:
    """Return the encoded features of the queries, with histories made of the past.

    Args:
        schema: the features of the model.
        users: encoded user ids.
        past: seen items, or None.
        given: features, one row per query.
        known: features of users, one row per encoded id.
    """
    query: dict[str, np.ndarray] = {}
    for feature in schema.query:
        name = feature.name
        if name == schema.user_id.name:
            query[name] = users
        elif name in given:
            what = f"recommend: queries[{name!r}]"
            query[name] = check_column(what, schema, feature, given[name], rows="users")
            if len(query[name]) != len(users):
                raise ValueError(
                    f"{what} must have {len(users)} rows; received {len(query[name])}."
                )
        elif name in known:
            query[name] = known[name][users]
        elif feature in schema.item_histories and past is not None:
            query[name] = past.newest(users, *feature.shape)
    if missing := [f.name for f in schema.query if f.name not in query]:
        histories = [f.name for f in schema.item_histories if f.name in missing]
        hint = f" Histories ({histories}) are made of seen=, if it is given." if histories else ""
        raise ValueError(
            f"recommend: the model also reads {missing} of a query. Pass them in queries=, "
            f"encoded, one row per user, or those of users in users=PreparedData.users.{hint}"
        )
    return query


def _index(model: Any, candidates: Columns, counts: np.ndarray) -> tuple[ExactIndex, Any]:
    """Return the search over the candidates, and a function from query features to its queries."""

    def score_parts(query: Tensor, items: Tensor) -> Tensor:
        return _numbers(model, model.score_parts(query, items))

    def score_pairs(inputs: Features) -> Tensor:
        # Models of NumPy score pairs too.
        columns = {name: np.asarray(column) for name, column in inputs.items()}
        return _numbers(model, model(columns, training=False))

    size, popularity = len(counts), tf.constant(counts, tf.float32)
    if isinstance(model, Retriever):
        table = VectorTable(_numbers(model, item_vectors(model, candidates)))
        index = ExactIndex(products(table), size, popularity=popularity)
        return index, lambda query: tf.constant(_numbers(model, model.query_embedding(query)))

    def some(start: Tensor, stop: Tensor) -> Features:
        return {name: column[start:stop] for name, column in candidates.items()}

    score, read = pair_scores(score_pairs, some), dict
    first = {name: column[:1] for name, column in candidates.items()}
    if has_own_parts(model) and model.item_part(first) is not None:
        parts = in_blocks(model.item_part, candidates)
        score = part_scores(score_parts, lambda start, stop: parts[start:stop])
        read = model.query_part
    return ExactIndex(score, size, popularity=popularity, pairs_per_block=_PAIRS), read


def _numbers(model: Any, values: Tensor) -> np.ndarray:
    """Return vectors or scores as float32, none of them NaN."""
    found: np.ndarray = np.asarray(values, np.float32)
    if np.isnan(found).any():
        raise ValueError(
            f"{type(model).__name__} gave NaN; expected numbers. Training may have diverged: lower "
            "the learning rate or clip gradients, and train again."
        )
    return found


def _decoded(found: list[Any], vocabulary: Vocabulary, ids: np.ndarray) -> RecommendedItems:
    """Return scores, positions, counts and fallbacks of all blocks as lists of raw ids."""
    scores, positions, count, fallback = map(np.concatenate, zip(*found, strict=True))
    raw = np.append(vocabulary.decode(ids), [RAW_PADDING[vocabulary.dtype]])
    # Position -1, an empty slot, is the padding at the end.
    return RecommendedItems(raw.astype(vocabulary.ids.dtype)[positions], scores, count, fallback)
