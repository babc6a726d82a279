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
    """Rank the catalogue for every query and compute the metrics of the test items.

    A query is a user, or with `per="row"` a test row. The unit belongs to the evaluation and not to
    the model, so that models with different features are measured on the same queries. The
    positives of a user are the test items that are positives by `Schema.positive`, or all test
    items without a label column. They are all ranked in one list. Means are over queries:

        hr@k         a positive among the first k
        recall@k     share of the positives among the first k
        precision@k  share of positives in the first k
        ndcg@k       gain 1 / log2(1 + rank) of the positives in the first k, over the best possible
        map@k        precision at the rank of each positive in the first k, summed, over all
                     positives
        mrr          1 / rank of the first positive, in the whole list
        map          map@k with the whole list as k
        auc          share of the (positive, other candidate) pairs that are in the right order

    Every figure is the exact mean over all orders of tied items (`expected_rank_metrics`), so
    constant scores get the result of chance.

    The rules for candidates and positives are:

    - Padding and unknown ids are never candidates.
    - Items of the user in `seen` are not candidates, whatever their label, except the query's
      positives.
    - Test items with other labels (shown and not clicked, rated low) are not hits. They stay
      candidates, and a query without positives is left out. `negative_rows` counts these rows.
    - A test row that repeats a seen pair counts as a positive, since people do come back, unless
      `drop_repeats` leaves it out of the test set. `repeated_rows` counts these rows.
    - A (query, item) pair that occurs twice in the test set counts once.
    - Rows of users without training rows are left out, since all of them share the unknown id.
      `unknown_user_rows` counts these rows.
    - Test items that are unknown or not in `items` cannot be recommended, so they count as missed.
      `unknown_item_rows` counts these rows.

    Args:
        model: model to evaluate. A `Retriever` is ranked by matrix products, any other `Ranker` by
            scoring pairs.
        test: encoded test rows: the query side features, the item id and, if there is one, the
            label.
        seen: encoded rows whose items are removed from a user's list: usually the training rows, or
            a list of the training and the validation rows. None removes nothing.
        k: cutoffs, all computed in one pass.
        candidates: item ids `(test rows, c)` to rank each row's positive among, instead of the
            catalogue. Figures of this sampled protocol are not comparable with others. Each test
            row is a query. The positive is added where missing, and repeated ids count once.
            `sample_candidates` draws candidates.
        items: item features, one row per item of the catalogue. Default: every known id, for
            models that need only the item id.
        drop_repeats: leave out test rows whose (user, item) pair is in `seen`.
        per: `"user"`: one list for each user. Its other query side features (the history, the
            context) are those of the user's first test row. `"row"`: one list for each test row,
            with the features of that row and its item as the only positive. The user's other test
            items are candidates. Given candidates are always ranked by row.
        max_memory_mb: bound for the arrays that grow with queries or items. There is at least one
            query per block. Vectors of the catalogue are not included.

    A `Retriever` is ranked by one thread per core, each with its own matrix product. Two items with
    equal vectors always tie.

    Returns:
        Dict with these metrics (those at k for every cutoff), `protocol`, `per`, and the counts
        `users`, `queries`, `candidates` (before seen items are removed), `test_rows`,
        `negative_rows`, `unknown_user_rows`, `unknown_item_rows` and `repeated_rows`.

    Raises:
        ValueError: if the test set has no positive (or none without unknown users and dropped
            repeats), k exceeds the catalogue, a column is missing or badly encoded, `per` is
            neither of the two, or a score is NaN.

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
    """Rank as `ranking`, and keep the values of every query for further statistics.

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
        `Ranked`, whose `summary()` equals the result of `ranking`.

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
    """Return the item features of the catalogue, one row per item."""
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
    """Validate the unit of a query.

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
