"""Ranking of the whole catalogue, or of given candidates, for every query of a test set."""

from collections.abc import Sequence

import numpy as np

from kerasrec._checks import check_choice, check_integer
from kerasrec.evaluation.columns import check_columns, check_ids, known
from kerasrec.evaluation.positions import Task, count_positives
from kerasrec.evaluation.queries import Per, SeenColumns, SeenPairs, make_queries
from kerasrec.evaluation.ranked import Ranked
from kerasrec.evaluation.sampling import Candidates
from kerasrec.evaluation.scoring import check_ranker
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns, Ranker


def ranking(
    model: Ranker,
    test: Columns,
    *,
    seen: SeenColumns,
    k: int | Sequence[int] = (10,),
    candidates: np.ndarray | Candidates | None = None,
    items: Columns | None = None,
    drop_repeats: bool = False,
    per: Per = "user",
    max_memory_mb: int = 128,
) -> dict[str, float | int | str]:
    """Ranks the catalogue for every query and looks where the test items come.

    A query is a user, or with `per="row"` a test row. The unit belongs to the evaluation and not to
    the model, so that models with other features are measured by the same queries. The positives of
    a user are the user's test items whose label is one by `Schema.positive` (all of them where the
    test rows have no label column); all stay in the one list that is ranked. Means are over
    queries:

        hr@k         a positive among the first k
        recall@k     share of the positives among the first k
        precision@k  share of positives in the first k
        ndcg@k       gain 1 / log2(1 + rank) of the positives in the first k, over the best possible
        map@k        precision at the rank of each positive in the first k, summed, over all
                     positives
        mrr          1 / rank of the first positive, in the whole list
        map          map@k with the whole list as k
        auc          share of the (positive, other candidate) pairs that are in the right order

    Equal scores are given no order: every figure is the exact mean over all orders of the tied
    items (`expected_rank_metrics`), so constant scores get what chance gets.

    What is ranked, and what is not:

    - Padding and unknown ids are never candidates.
    - Items of the user in `seen` are no candidates, whatever their label, except the query's
      positives.
    - Test items of other labels (shown and not clicked, rated low) are no hits: they are candidates
      like all others, and a query without any positive is none. `negative_rows` says how many
      such rows there are.
    - A test row that repeats a seen pair counts as a positive (people do come back), unless
      `drop_repeats` leaves it out of the test set; `repeated_rows` says how many there are.
    - The same (query, item) twice in the test set counts once.
    - Rows of users without a training row are left out, since their shared unknown id no longer
      tells who they are; `unknown_user_rows` says how many.
    - Test items that are unknown or not in `items` cannot be recommended: they count as missed,
      and `unknown_item_rows` says how many.

    Args:
        model: what is evaluated; a `Retriever` is ranked by matrix products, any other `Ranker`
            by scoring pairs.
        test: encoded test rows: the query side features, the item id and, if there is one, the
            label.
        seen: encoded rows whose items are taken out of a user's list: usually the training rows,
            or a list of the training and the validation rows. None takes out nothing.
        k: cutoffs; all of them are computed in one pass.
        candidates: item ids `(test rows, c)` to rank each row's positive among, instead of the
            catalogue: the sampled protocol, whose figures compare with nothing else. Each test
            row is a query; the positive is added where missing, repeated ids count once.
            `sample_candidates` draws some.
        items: item features, one row per item of the catalogue. Default: every known id, for
            models that need nothing but the item id.
        drop_repeats: leave out test rows whose (user, item) pair is in `seen`.
        per: `"user"`: one list for each user, whose other query side features (the history, the
            context) are those of the user's first test row. `"row"`: one list for each test row,
            with the features of that row and its item as the only positive; the user's other test
            items are candidates. Given candidates are always ranked by row.
        max_memory_mb: bound for the arrays that grow with queries or items; there is at least one
            query per block. Vectors of the catalogue come on top.

    A `Retriever` is ranked by one thread per core, each with a matrix product of its own; two
    items with equal vectors tie for certain.

    Returns:
        dict with these metrics (those at k for every cutoff), `protocol`, `per`, and the counts
        `users`, `queries`, `candidates` (before seen items are taken out), `test_rows`,
        `negative_rows`, `unknown_user_rows`, `unknown_item_rows` and `repeated_rows`.

    Raises:
        ValueError: if the test set has no positive (or has none once unknown users and dropped
            repeats are out), k exceeds the catalogue, a column is missing or badly encoded, `per`
            is neither of the two, or a score is NaN.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> train = {"user": np.array([2, 3]), "item": np.array([11, 5])}
    >>> test = {"user": np.array([2, 3]), "item": np.array([10, 9])}  # ranks 1 and 3
    >>> metrics = ranking(HighestId(), test, seen=train, k=(1, 3))
    >>> metrics["hr@1"], metrics["hr@3"], metrics["mrr"], metrics["candidates"]
    (0.5, 1.0, 0.6666666666666666, 10)
    """
    return rank_queries(
        model,
        test,
        seen=seen,
        k=k,
        candidates=candidates,
        items=items,
        drop_repeats=drop_repeats,
        per=per,
        max_memory_mb=max_memory_mb,
    ).summary()


def rank_queries(
    model: Ranker,
    test: Columns,
    *,
    seen: SeenColumns,
    k: int | Sequence[int] = (10,),
    candidates: np.ndarray | Candidates | None = None,
    items: Columns | None = None,
    drop_repeats: bool = False,
    per: Per = "user",
    max_memory_mb: int = 128,
) -> Ranked:
    """`ranking`, with the value of every query: for segments, intervals and comparisons.

    Args:
        model: see `ranking`.
        test: see `ranking`.
        seen: see `ranking`.
        k: see `ranking`.
        candidates: see `ranking`.
        items: see `ranking`.
        drop_repeats: see `ranking`.
        per: see `ranking`.
        max_memory_mb: see `ranking`.

    Returns:
        `Ranked`, whose `summary()` is what `ranking` returns.

    Raises:
        ValueError: see `ranking`.
    """
    check_ranker(model)
    schema = model.schema
    check_integer("ranking", "max_memory_mb", max_memory_mb, 1, numpy=True)
    check_per(per)
    names = [feature.name for feature in schema.query] + [schema.item_id.name]
    names += [schema.label] if schema.label in test else []
    rows = check_columns(test, names, what="ranking: test")
    items = catalogue(schema, items)
    seen_pairs = SeenPairs.of(seen, schema)
    if candidates is not None:
        per = "row"
    queries = make_queries(test, schema, seen_pairs, drop_repeats=drop_repeats, per=per)
    protocol, width, given = "full catalogue", len(items[schema.item_id.name]), None
    if candidates is not None:
        if not isinstance(candidates, Candidates):
            candidates = Candidates(candidates, "given")
        given = _check_candidates(candidates.ids, schema, rows)[queries.test_row]
        protocol = f"sampled, {given.shape[1]} {candidates.method} candidates"
        width = given.shape[1] + 1
    cutoffs = _check_cutoffs(k, width, protocol)
    position = np.full(schema.item_id.num_ids, -1)  # (item ids,) row in the catalogue
    position[items[schema.item_id.name]] = np.arange(len(items[schema.item_id.name]))
    task = Task(schema, queries, seen_pairs, position, given)
    positives, negatives = count_positives(model, items, task, max_memory_mb=max_memory_mb)
    facts: dict[str, float | int | str] = {
        "protocol": protocol,
        "per": per,
        "users": len(np.unique(queries.features[schema.user_id.name])),
        "queries": len(queries.test_row),
        "candidates": width,
        "test_rows": rows,
        "negative_rows": queries.negative_rows,
        "unknown_user_rows": queries.unknown_user_rows,
        "unknown_item_rows": int((~positives.listed).sum()),
        "repeated_rows": queries.repeated_rows,
    }
    return Ranked(
        queries.features, schema.user_id.name, positives, negatives, tuple(cutoffs), facts
    )


def catalogue(schema: Schema, items: Columns | None) -> dict[str, np.ndarray]:
    """Item features of the catalogue, one row per item."""
    if items is None:
        if len(schema.item) > 1:
            raise ValueError(
                "ranking: this model needs the item features "
                f"{[f.name for f in schema.item]} of every item; received no `items`. Pass a dict "
                "of columns with one row per item."
            )
        return {schema.item_id.name: np.arange(FIRST_ID, schema.item_id.num_ids, dtype=np.int32)}
    check_columns(items, [f.name for f in schema.item], what="ranking: items")
    ids = check_ids(items[schema.item_id.name], schema.item_id, what="ranking: items")
    if not known(ids).all() or len(np.unique(ids)) < len(ids):
        raise ValueError(
            f"ranking: items expects one row per known item; received {len(ids)} rows with "
            f"{(~known(ids)).sum()} padding or unknown ids and {len(ids) - len(np.unique(ids))} "
            "repeated ones. Leave those rows out."
        )
    return {f.name: np.asarray(items[f.name]) for f in schema.item}


def check_per(per: str) -> None:
    """Refuse a unit that there is not.

    Raises:
        ValueError: if it is neither "user" nor "row".
    """
    hint = "These are one list for each user, and one for each test row."
    check_choice("ranking", "per", per, ("user", "row"), hint=hint)


def _check_candidates(candidates: np.ndarray, schema: Schema, rows: int) -> np.ndarray:
    candidates = np.asarray(candidates)
    if candidates.ndim != 2 or len(candidates) != rows or not candidates.shape[1]:
        raise ValueError(
            f"ranking: candidates expects item ids of shape (test rows, c) = ({rows}, c); received "
            f"{candidates.shape}."
        )
    return check_ids(candidates, schema.item_id, what="ranking: candidates")


def _check_cutoffs(k: int | Sequence[int], width: int, protocol: str) -> list[int]:
    cutoffs = [k] if isinstance(k, int | np.integer) else list(k)
    if not cutoffs:
        raise ValueError("ranking: k expects integers such as 10 or (5, 10); received none.")
    for at in cutoffs:
        check_integer("ranking", "k", at, 1, numpy=True, hint="Pass 10, or several: (5, 10).")
    if max(cutoffs) > width:
        raise ValueError(
            f"ranking: k={max(cutoffs)} exceeds the {width} candidates there are ({protocol}). "
            f"Use k of at most {width}."
        )
    return sorted({int(at) for at in cutoffs})
