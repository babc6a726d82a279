"""Ranking metrics on validation rows during `fit`."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, Unpack

import keras
import numpy as np

from kerasrec._checks import check_integer
from kerasrec._progress import progress
from kerasrec.callbacks.symptoms import is_broken
from kerasrec.evaluation import RankingTask, rank
from kerasrec.evaluation.columns import take_rows
from kerasrec.evaluation.ranking.queries import SeenPairs, seen_parts
from kerasrec.evaluation.ranking.task import TaskOptions
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns, Ranker

# Not logged, since Keras gives `val_auc` to its own metric of labels.
_OF_KERAS = {"auc"}
USERS_PER_BLOCK = 1024


class RankingValidation(keras.callbacks.Callback):
    """Rank the catalogue for validation rows and add `val_ndcg@10` and others to the logs.

    The logs of an epoch go to `History`, to Keras' progress bar and to the callbacks that follow
    in the list. So put it before `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau`. They
    need `mode="max"`, since Keras does not know the direction of a metric that it did not compile.

        fit(..., callbacks=[
            RankingValidation(valid, seen=train),
            keras.callbacks.EarlyStopping("val_ndcg@10", mode="max", patience=3),
        ])

    Ranking runs in the first epoch, in every `every`-th epoch after it, and in the last epoch of
    `fit`. The epochs between repeat the last metrics. A `patience` counts them as epochs without
    improvement, so set it to at least `every`. A training that another callback has stopped with
    weights that are not finite is not ranked.

    With `verbose=1` in `fit` a progress bar counts blocks of users, on a terminal.

    Args:
        valid: encoded validation rows, whose positives are ranked, or a task of
            `kerasrec.evaluation`.
        every: epochs from one ranking to the next.
        ranker: model to rank with; by default the fitted model. Pass the inner model when a trainer
            such as `SampledSoftmaxTrainer` is fitted.
        **options: fields of `kerasrec.evaluation.RankingTask`, such as `seen` and `k`.

    Raises:
        ValueError: if `every` is not positive, there are no validation rows, or the model cannot
            rank. From `fit`, as in `rank`.

    Example:

    >>> import numpy as np
    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 14))
    >>> train = {"user_id": np.array([2, 3]), "item_id": np.array([4, 11])}
    >>> valid = {"user_id": np.array([2, 3]), "item_id": np.array([5, 12])}
    >>> model = MatrixFactorization(schema, embedding_dim=4)
    >>> model.compile("adam", "mse")
    >>> callbacks = [RankingValidation(valid, seen=train)]
    >>> history = model.fit(train, np.ones(2), epochs=2, verbose=0, callbacks=callbacks)
    >>> len(history.history["val_ndcg@10"])
    2
    """

    def __init__(
        self,
        valid: Columns | RankingTask,
        *,
        every: int = 1,
        ranker: Ranker | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        super().__init__()
        check_integer(self, "every", every, 1, hint="It counts epochs.")
        rows = valid.test if isinstance(valid, RankingTask) else valid
        if not isinstance(rows, Mapping) or not rows or not len(next(iter(rows.values()))):
            raise ValueError(
                "RankingValidation: expected encoded validation rows (a dict of arrays); received "
                f"{'none' if isinstance(rows, Mapping) else type(rows).__name__}. Hold some "
                "out, or leave the callback out."
            )
        self.task, self.every, self.ranker = RankingTask.of(valid, options), every, ranker
        self._blocks: list[RankingTask] = []
        self._epochs_since: int | None = None
        self._metrics: dict[str, float] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check that the model can rank, and group the rows by user."""
        model = self._ranked()
        if not isinstance(model, Ranker):
            raise ValueError(
                f"RankingValidation: {type(model).__name__} has no schema to rank by. Pass the "
                "kerasrec model that it trains as `ranker`."
            )
        self._blocks = _blocks(self.task, model.schema)
        self._epochs_since, self._metrics = None, {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Rank, or repeat the last metrics, and add them to the logs."""
        if is_broken(self.model):
            return
        last = epoch + 1 == (self.params or {}).get("epochs")
        due = self._epochs_since is None or self._epochs_since + 1 >= self.every or last
        if due:
            self._metrics = self.rank()
        self._epochs_since = 0 if due else (self._epochs_since or 0) + 1
        if logs is not None:
            logs.update(self._metrics)

    def rank(self) -> dict[str, float]:
        """Return the metrics of the current weights, under their names in the logs."""
        verbose = (self.params or {}).get("verbose") == 1
        if verbose and sys.stderr.isatty():
            print()  # the bar of the epoch occupies the current line
        ranked = self._ranked()
        sums: dict[str, float] = {}
        queries = 0
        with progress("ranking blocks of users", len(self._blocks), shown=verbose) as advance:
            for block in self._blocks:
                result = rank(ranked, block)
                found, count = result.summary(), len(result.users)
                # Blocks are averaged with their numbers of queries as weights.
                for name in result.values:
                    sums[name] = sums.get(name, 0.0) + float(found[name]) * count
                queries += count
                advance(1)
        return {f"val_{n}": total / queries for n, total in sums.items() if n not in _OF_KERAS}

    def _ranked(self) -> Any:
        return self.model if self.ranker is None else self.ranker


def _blocks(task: RankingTask, schema: Schema) -> list[RankingTask]:
    """Divide a task into blocks of users. Unknown users join the first block.

    Only the positives of the validation rows are kept, since every block needs at least one.
    """
    user, item = schema.user_id.name, schema.item_id.name
    valid, parts = task.test, seen_parts(task.seen)
    for name, columns in [("valid", valid), *(("seen", part) for part in parts)]:
        if user not in columns:
            raise ValueError(
                f"RankingValidation: {name} has no column {user!r}; received {sorted(columns)}. "
                "Pass encoded columns."
            )
    kept = np.ones(len(valid[user]), bool)
    if schema.label in valid:
        kept &= np.asarray(schema.is_positive(np.asarray(valid[schema.label])))
    if task.drop_repeats:
        pairs = (np.asarray(valid[name], np.int64) for name in (user, item))
        kept &= ~SeenPairs.of(parts, schema).contains(*pairs)
    if not kept.any():
        kept[:] = True  # `rank` raises the error
    users = np.unique(valid[user][kept])
    users = users[users >= FIRST_ID]
    count = max(1, len(users) // USERS_PER_BLOCK)
    firsts = users[np.arange(1, count) * USERS_PER_BLOCK]  # of each block but the first

    def rows_of(columns: Columns, some: np.ndarray | bool = True) -> list[np.ndarray]:
        numbers = np.searchsorted(firsts, columns[user], side="right")
        return [np.flatnonzero((numbers == number) & some) for number in range(count)]

    def taken(columns: Columns, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: take_rows(values, rows) for name, values in columns.items()}

    blocks = []
    seen_rows = [rows_of(part) for part in parts]
    for number, rows in enumerate(rows_of(valid, kept)):
        seen = [taken(part, of[number]) for part, of in zip(parts, seen_rows, strict=True)]
        given = task.candidates
        if task.sampled is not None:  # they belong to the test rows
            given = task.sampled.ids[rows]
        blocks.append(
            dataclasses.replace(task, test=taken(valid, rows), seen=seen, candidates=given)
        )
    return blocks
