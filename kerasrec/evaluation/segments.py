"""Metrics by segment of users or items."""

from collections.abc import Sequence

import numpy as np

from kerasrec.evaluation.baseline import POPULARITY
from kerasrec.evaluation.ranking.result import RankingResult
from kerasrec.evaluation.statistics import PerQuery

ACTIVITY = ("cold", "warm", "hot")


def user_activity(counts: np.ndarray, *, bounds: tuple[int, int] | None = None) -> np.ndarray:
    """Label users by their number of rows: cold, warm or hot.

    Args:
        counts: rows of each user, whatever their label, such as
            `row_counts(train, schema.user_id)[ranked.users]`.
        bounds: largest number of rows of a cold and of a warm user. By default about a third of
            these users are cold and a third warm. Users with equally many rows stay together.

    Returns:
        Names, in the shape of `counts`.

    Raises:
        ValueError: if there are no users, or the bounds are not ascending.

    Example:

    >>> user_activity(np.array([1, 9, 4, 1, 30, 5])).tolist()
    ['cold', 'hot', 'warm', 'cold', 'hot', 'warm']
    >>> user_activity(np.array([1, 9, 4]), bounds=(4, 9)).tolist()
    ['cold', 'warm', 'cold']
    """
    counts = np.asarray(counts)
    if not counts.size:
        raise ValueError("user_activity: expected the rows of at least one user; received none.")
    if bounds is None:
        low, high = np.quantile(counts, [1 / 3, 2 / 3], method="inverted_cdf")
    else:
        low, high = bounds
        if low > high:
            raise ValueError(
                f"user_activity: bounds rise: (most rows of a cold user, of a warm one); received "
                f"{bounds!r}."
            )
    return np.array(ACTIVITY)[(counts > low).astype(int) + (counts > high)]


def segment_rows(
    ranked: RankingResult,
    *,
    queries: np.ndarray | None = None,
    items: np.ndarray | None = None,
    values: PerQuery | None = None,
) -> list[dict[str, float | int | str]]:
    """Compute the metrics of every segment, as rows for `format_table`.

    With `queries`, the metrics are means over the queries of a segment. With `items`, only the
    positives of a segment count. Other positives are removed from the lists, so that a positive
    only competes with negatives, and queries without a positive in the segment are left out.

    Args:
        ranked: the result of `rank`.
        queries: a label for each query: `user_activity(...)`, or any column of the users, such as
            `country[ranked.users]`.
        items: a label for each item id: `item_popularity(...)`, or any column of the items.
        values: more values `(queries,)` to average by `queries`, such as `novelty`. NaN is ignored.

    Returns:
        A row per label, sorted (in the order of `ACTIVITY` and `POPULARITY` for these): `segment`,
        `queries`, and the metrics.

    Raises:
        ValueError: unless exactly one of `queries` and `items` is given with the right length, or
            if `values` are given with `items` or have another length.

    Example:

    >>> from kerasrec.evaluation import rank
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> test = {"user": np.array([2, 3]), "item": np.array([11, 10])}
    >>> ranked = rank(HighestId(), test, seen=None, k=1)
    >>> rows = segment_rows(ranked, queries=np.array(["old", "new"]))
    >>> [(row["segment"], row["mrr"]) for row in rows]
    [('new', 0.5), ('old', 1.0)]
    """
    labels = np.asarray(queries if items is None else items)
    needed = len(ranked.users) if items is None else int(ranked.positives.item.max()) + 1
    fits = labels.ndim == 1 and (
        len(labels) == needed or (len(labels) > needed and queries is None)
    )
    if (queries is None) == (items is None) or not fits:
        raise ValueError(
            f"segment_rows: expected either `queries`, a label for each of the {len(ranked.users)} "
            f"queries, or `items`, one for every item id; received queries={_shape(queries)} and "
            f"items={_shape(items)}."
        )
    more = {} if values is None else dict(values)
    wrong = [name for name, found in more.items() if np.shape(found) != (len(ranked.users),)]
    if wrong or (more and items is not None):
        raise ValueError(
            f"segment_rows: values are one per query, {len(ranked.users)}, and go with `queries`; "
            f"received {wrong or list(more)} with "
            f"{'other lengths' if wrong else 'labels of items'}."
        )
    rows: list[dict[str, float | int | str]] = []
    for label in _labels(labels):
        chosen = np.asarray(labels == label)
        if queries is not None:
            some = {name: found[chosen] for name, found in ranked.values.items()}
            some |= {name: found[chosen & ~np.isnan(found)] for name, found in more.items()}
            number = int(chosen.sum())
        else:
            found_queries, some = ranked.only(chosen)
            number = len(found_queries)
        means = {
            n: float(found.mean()) if len(found) else float("nan") for n, found in some.items()
        }
        rows.append({"segment": str(label), "queries": number, **means})
    return rows


def _labels(labels: np.ndarray) -> Sequence[object]:
    found = np.unique(labels).tolist()
    for names in (ACTIVITY, POPULARITY):
        if set(found) <= set(names):
            return [name for name in names if name in found]
    return found


def _shape(labels: np.ndarray | None) -> str:
    return "None" if labels is None else f"an array {np.shape(labels)}"
