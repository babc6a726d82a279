"""The table of all metrics: every other place derives names, directions and formulas from it.

A metric whose name ends with `@k` has a value for every cutoff k. Formulas of a group take the same
evidence:

| group | evidence |
|---|---|
| `RANKING` | `TieBlocks` of a ranking; gives values of every query |
| `RATINGS` | errors of the rows, prediction - label |
| `CLICKS` | `ClickRows`: labels, logits and users |
| `LISTS` | `ListFacts`; gives values of every list, one number for all lists, or None |
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from kerasrec.evaluation import beyond
from kerasrec.evaluation.clicks import scores
from kerasrec.evaluation.clicks.curves import average_precision
from kerasrec.evaluation.ranking import tie_blocks

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class Metric:
    """Declaration of a metric.

    Args:
        formula: function of the evidence, and of k if the name ends with `@k`.
        best: best possible value: infinity if higher is better, 0 for an error.
        priority: order of ranking metrics where a table or chart shows some of them, ascending.
        reported: whether it belongs in reports of runs.
    """

    formula: Callable[..., Any]
    best: float = math.inf
    priority: int = 9
    reported: bool = True

    def quality(self, value: float) -> float:
        """Return a number that is higher for better values."""
        return value if math.isinf(self.best) else -abs(value - self.best)


RANKING: dict[str, Metric] = {
    "hr@k": Metric(tie_blocks.hit_rate, priority=1),
    "recall@k": Metric(tie_blocks.recall, priority=2),
    "precision@k": Metric(tie_blocks.precision, priority=5, reported=False),
    "ndcg@k": Metric(tie_blocks.ndcg, priority=0),
    "map@k": Metric(tie_blocks.average_precision, priority=4, reported=False),
    "mrr": Metric(tie_blocks.reciprocal_rank, priority=3),
    "map": Metric(tie_blocks.average_precision, priority=4),
    "auc": Metric(tie_blocks.pair_accuracy, priority=6),
}
RATINGS: dict[str, Metric] = {
    "rmse": Metric(lambda errors: float(np.sqrt(np.mean(errors**2))), best=0),
    "mae": Metric(lambda errors: float(np.mean(np.abs(errors))), best=0),
}
CLICKS: dict[str, Metric] = {
    "auc": Metric(lambda rows: scores.auc(rows.labels, rows.logits)),
    "pr_auc": Metric(lambda rows: average_precision(rows.labels, rows.logits)),
    "gauc": Metric(lambda rows: rows.grouped_auc[0]),
    "log_loss": Metric(lambda rows: scores.log_loss(rows.labels, rows.log_odds), best=0),
    "normalized_entropy": Metric(
        lambda rows: scores.normalized_entropy(rows.labels, rows.log_odds), best=0
    ),
    "calibration": Metric(
        lambda rows: (
            float(rows.predicted.mean() / rows.labels.mean()) if rows.labels.any() else math.nan
        ),
        best=1,
    ),
    "calibration_error": Metric(
        lambda rows: scores.calibration_curve(rows.labels, rows.predicted, bins=rows.bins).error,
        best=0,
        reported=False,
    ),
}
LISTS: dict[str, Metric] = {
    "coverage@k": Metric(lambda of, k: beyond.coverage(of.lists)),
    "gini@k": Metric(lambda of, k: beyond.gini(of.lists), best=0),
    "entropy@k": Metric(lambda of, k: beyond.entropy(of.lists)),
    "popularity_lift@k": Metric(
        lambda of, k: beyond.popularity_lift(of.lists, of.counts, of.schema, of.positives), best=0
    ),
    "novelty@k": Metric(lambda of, k: beyond.novelty(of.lists, of.counts, of.users)),
    "long_tail@k": Metric(lambda of, k: beyond.long_tail_share(of.lists, of.counts)),
    "diversity@k": Metric(
        lambda of, k: None if of.vectors is None else beyond.diversity(of.lists, of.vectors)
    ),
    "serendipity@k": Metric(
        lambda of, k: (
            None
            if of.test is None
            else beyond.serendipity(of.lists, of.schema, train=of.train, test=of.test)
        )
    ),
}


def compute(
    table: Mapping[str, Metric], evidence: Any, cutoffs: Iterable[int] = ()
) -> dict[str, Any]:
    """Compute the metrics of a table, those at k for every cutoff."""
    found: dict[str, Any] = {}
    for name, metric in table.items():
        if name.endswith("@k"):
            found |= {name_at(name, k): metric.formula(evidence, k) for k in cutoffs}
        else:
            found[name] = metric.formula(evidence)
    return found


def name_at(name: str, k: int) -> str:
    """Return the name of a metric in results, such as `"ndcg@10"` of `"ndcg@k"`."""
    return f"{name.removesuffix('k')}{k}" if name.endswith("@k") else name


def kind_of(name: str) -> str:
    """Return the name of a metric without its cutoff, such as `"ndcg"` of `"ndcg@10"`."""
    return name.split("@")[0]


def by_priority() -> dict[str, Metric]:
    """Return the ranking metrics, those first that a table shows first."""
    return dict(sorted(RANKING.items(), key=lambda pair: pair[1].priority))


def beside_ranking(values: Mapping[str, Value]) -> dict[str, Value]:
    """Select the reported metrics of labels, and name them to stand beside those of a ranking.

    >>> beside_ranking({"auc": 0.7, "log_loss": 0.5, "test_rows": 9})
    {'click_auc': 0.7, 'log_loss': 0.5}
    """
    return {
        f"click_{name}" if name in RANKING else name: values[name]
        for name, metric in (RATINGS | CLICKS).items()
        if metric.reported and name in values
    }
