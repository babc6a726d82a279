"""Result of a ranking: the positions of the positives, and their metrics."""

import dataclasses

import numpy as np

from kerasrec.evaluation import metrics
from kerasrec.evaluation.ranking.positions import Positives
from kerasrec.evaluation.ranking.tie_blocks import TieBlocks
from kerasrec.types import Columns


@dataclasses.dataclass(frozen=True, eq=False)
class RankingResult:
    """Ranking of a test set by one model, query by query.

    Args:
        queries: query side features, one row per query.
        user: name of the user id among them.
        positives: the positives, with the numbers of candidates above and tied with them.
        negatives: `(queries,)` number of candidates that are not positives.
        cutoffs: the values of k.
        facts: `protocol`, `per`, and the counts `users`, `queries`, `candidates` (before seen items
            are removed), `test_rows`, `negative_rows`, `unknown_user_rows`, `unknown_item_rows` and
            `repeated_rows`.

    Example:

    >>> import numpy as np
    >>> from kerasrec.evaluation import rank
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> test = {"user": np.array([2, 3]), "item": np.array([11, 10])}
    >>> result = rank(HighestId(), test, seen=None, k=1)
    >>> result.values["mrr"].tolist(), result["mrr"]
    ([1.0, 0.5], 0.75)
    """

    queries: Columns
    user: str
    positives: Positives
    negatives: np.ndarray
    cutoffs: tuple[int, ...]
    facts: dict[str, float | int | str]
    values: dict[str, np.ndarray] = dataclasses.field(init=False)
    """`(queries,)` array of every ranking metric of the table, those at k for every cutoff."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", self._values(self.positives, self.negatives))

    @property
    def users(self) -> np.ndarray:
        """Return the user id of every query, `(queries,)`."""
        return self.queries[self.user]

    def __getitem__(self, name: str) -> float | int | str:
        """Return one entry of the summary, such as `result["ndcg@10"]`."""
        return self.summary()[name]

    def summary(self) -> dict[str, float | int | str]:
        """Return means over the queries, and the facts."""
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
        return metrics.compute(metrics.RANKING, _tie_blocks(positives, negatives), self.cutoffs)


def _tie_blocks(positives: Positives, negatives: np.ndarray) -> TieBlocks:
    """Group the listed positives of each query by their scores."""
    listed = positives.take(positives.listed)
    order = np.lexsort((-listed.score, listed.query))
    listed = listed.take(order)
    query, score = listed.query, listed.score
    new = np.ones(len(query), bool)  # first positive of its block
    new[1:] = (query[1:] != query[:-1]) | (score[1:] != score[:-1])
    start = np.flatnonzero(new)
    first_of_query = np.searchsorted(query, query[start])
    together = np.diff(start, append=len(query))
    return TieBlocks(
        query[start],
        listed.greater[start] + start - first_of_query,
        listed.tied[start] + together,
        together,
        num_positives=np.bincount(positives.query, minlength=len(negatives)),
        negatives=negatives,
    )
