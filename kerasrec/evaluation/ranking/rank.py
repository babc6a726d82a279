"""Ranking of the whole catalogue, or of given candidates, for every query of a task."""

from typing import Unpack

from kerasrec._progress import progress
from kerasrec.evaluation.ranking.positions import count_positives
from kerasrec.evaluation.ranking.result import RankingResult
from kerasrec.evaluation.ranking.scoring import check_ranker
from kerasrec.evaluation.ranking.task import RankingTask, TaskOptions
from kerasrec.types import Columns, Ranker


def rank(
    model: Ranker,
    test: Columns | RankingTask,
    *,
    verbose: bool = False,
    **options: Unpack[TaskOptions],
) -> RankingResult:
    """Rank the catalogue for every query and compute the metrics of the test items.

        task = RankingTask(test, seen=[train, valid], k=(5, 10))
        results = {name: rank(model, task) for name, model in models.items()}

    For a single model, `rank(model, test, seen=[train, valid], k=10)` makes the task. The metrics
    are those of `kerasrec.evaluation.metrics.RANKING`:

        hr@k         a positive among the first k
        recall@k     share of the positives among the first k
        precision@k  share of positives in the first k
        ndcg@k       gain 1 / log2(1 + rank) of the positives in the first k, over the best possible
        map@k        precision at the rank of each positive in the first k, summed, over all
                     positives
        mrr          1 / rank of the first positive, in the whole list
        map          map@k with the whole list as k
        auc          share of the (positive, other candidate) pairs that are in the right order

    Each is the exact mean over all orders of tied items (`TieBlocks`), so constant scores get the
    result of chance.

    A `Retriever` is ranked by matrix products with one thread per core. A `PartsRanker`, such as
    `EmbeddingMLP`, reads each query and each item once, and its pairs are scored in compiled blocks
    with one thread per core. Any other `Ranker` is called on all pairs. Two items with equal
    vectors or parts always tie.

    Args:
        model: model to evaluate.
        test: encoded test rows, or a task.
        verbose: whether to draw a progress bar on a terminal.
        **options: fields of `RankingTask`. Test rows need `seen`. A task is ranked with these
            fields replaced.

    Returns:
        `RankingResult` with the values of every query. Its `summary()` holds their means.

    Raises:
        ValueError: if the test set has no positive (or none without unknown users and dropped
            repeats), k exceeds the catalogue, a column is missing or badly encoded, an option is
            invalid, or a score is NaN.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> train = {"user": np.array([2, 3]), "item": np.array([11, 5])}
    >>> test = {"user": np.array([2, 3]), "item": np.array([10, 9])}  # ranks 1 and 3
    >>> result = rank(HighestId(), test, seen=train, k=(1, 3))
    >>> result["hr@1"], result["hr@3"], result["mrr"], result["candidates"]
    (0.5, 1.0, 0.6666666666666666, 10)
    """
    check_ranker(model)
    task = RankingTask.of(test, options)
    prepared = task.prepare(model.schema)
    memory, queries = task.max_memory_mb, len(prepared.queries.test_row)
    with progress("ranking", queries, shown=verbose) as advance:
        positives, negatives = count_positives(
            model, prepared, max_memory_mb=memory, advance=advance
        )
    features, user = prepared.queries.features, model.schema.user_id.name
    return RankingResult(features, user, positives, negatives, task.cutoffs, prepared.facts)
