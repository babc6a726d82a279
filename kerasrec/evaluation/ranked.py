"""Result of a ranking: the positions of the positives, and their metrics."""

import dataclasses

import numpy as np

from kerasrec.evaluation.rank_metrics import RankMetrics, expected_rank_metrics
from kerasrec.types import Columns

_AT_CUTOFFS = {"hr": "hr", "recall": "recall", "precision": "precision", "ndcg": "ndcg"}
_AT_CUTOFFS["map"] = "map_at"


@dataclasses.dataclass(frozen=True, eq=False)
class Positives:
    """Positives of all queries, one row each.

    Args:
        query: index of the query, ascending.
        item: item id.
        listed: whether the item was a candidate.
        score: float32 score, arbitrary if not listed.
        greater: number of candidates that score higher, without positives.
        tied: number of candidates that score the same, without positives.
    """

    query: np.ndarray
    item: np.ndarray
    listed: np.ndarray
    score: np.ndarray
    greater: np.ndarray
    tied: np.ndarray

    def take(self, rows: np.ndarray) -> "Positives":
        """Return some of the rows, in their order."""
        return Positives(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True, eq=False)
class Ranked:
    """Ranking of a test set by one model, query by query.

    Args:
        queries: query side features, one row per query.
        user: name of the user id among them.
        positives: the positives, with the numbers of candidates above and tied with them.
        negatives: `(queries,)` number of candidates that are not positives.
        cutoffs: the values of k.
        facts: protocol and counts, as `ranking` returns them.

    Example:

    >>> import numpy as np
    >>> from kerasrec.evaluation import rank_queries
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> test = {"user": np.array([2, 3]), "item": np.array([11, 10])}
    >>> rank_queries(HighestId(), test, seen=None, k=1).values["mrr"].tolist()
    [1.0, 0.5]
    """

    queries: Columns
    user: str
    positives: Positives
    negatives: np.ndarray
    cutoffs: tuple[int, ...]
    facts: dict[str, float | int | str]
    values: dict[str, np.ndarray] = dataclasses.field(init=False)
    """`(queries,)` array of every metric: `hr@k`, ..., `map`, `auc`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", self._values(self.positives, self.negatives))

    @property
    def users(self) -> np.ndarray:
        """Return the user id of every query, `(queries,)`."""
        return self.queries[self.user]

    def summary(self) -> dict[str, float | int | str]:
        """Return means over the queries, with the facts, as `ranking` does."""
        return {name: float(values.mean()) for name, values in self.values.items()} | self.facts

    def only(self, items: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compute the metrics with only some items as positives, the others removed from the lists.

        Args:
            items: bool mask `(item ids,)` of the item ids that count.

        Returns:
            The indices of queries with such a positive, and their values by metric.
        """
        positives = self.positives.take(items[self.positives.item])
        queries, query = np.unique(positives.query, return_inverse=True)
        kept = dataclasses.replace(positives, query=query)
        return queries, self._values(kept, self.negatives[queries])

    def _values(self, positives: Positives, negatives: np.ndarray) -> dict[str, np.ndarray]:
        metrics = _metrics(positives, negatives, self.cutoffs)
        values = {}
        for name, field in _AT_CUTOFFS.items():
            for column, k in enumerate(self.cutoffs):
                values[f"{name}@{k}"] = getattr(metrics, field)[:, column]
        return values | {"mrr": metrics.mrr, "map": metrics.map, "auc": metrics.auc}


def _metrics(positives: Positives, negatives: np.ndarray, cutoffs: tuple[int, ...]) -> RankMetrics:
    """Compute the metrics from the tie blocks of the positives."""
    listed = positives.take(positives.listed)
    order = np.lexsort((-listed.score, listed.query))
    listed = listed.take(order)
    query, score = listed.query, listed.score
    new = np.ones(len(query), bool)  # first positive of its block
    new[1:] = (query[1:] != query[:-1]) | (score[1:] != score[:-1])
    start = np.flatnonzero(new)
    first_of_query = np.searchsorted(query, query[start])
    together = np.diff(start, append=len(query))
    return expected_rank_metrics(
        query[start],
        listed.greater[start] + start - first_of_query,
        listed.tied[start] + together,
        together,
        num_positives=np.bincount(positives.query, minlength=len(negatives)),
        negatives=negatives,
        cutoffs=cutoffs,
    )
