"""Ranking metrics on validation rows during `fit`."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasrec._checks import check_integer
from kerasrec.evaluation import ranking
from kerasrec.evaluation.columns import take_rows
from kerasrec.evaluation.queries import Per
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns, Ranker

# Metrics that are means over queries, so that blocks of users can be averaged.
MEANS = ("hr", "recall", "precision", "ndcg", "map", "mrr")
USERS_PER_BLOCK = 1024
_CANDIDATES = "\0candidates"


class RankingValidation(keras.callbacks.Callback):
    """Rank the catalogue for validation rows and add `val_ndcg@10` and others to the logs.

    The logs of an epoch go to `History`, to Keras' progress bar and to the callbacks that follow
    in the list. So put it before `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau`. They
    need `mode="max"`, since Keras does not know the direction of a metric that it did not compile.

        fit(..., callbacks=[
            RankingValidation(valid, train),
            keras.callbacks.EarlyStopping("val_ndcg@10", mode="max", patience=3),
        ])

    Ranking runs in the first epoch, in every `every`-th epoch after it, and in the last epoch of
    `fit`. The epochs between repeat the last metrics. A `patience` counts them as epochs without
    improvement, so set it to at least `every`.

    With `verbose=1` in `fit` a progress bar counts blocks of users.

    Args:
        valid: encoded validation rows, whose positives are ranked, see
            `kerasrec.evaluation.ranking`.
        seen: encoded rows whose items are removed from a user's list: the training rows.
        every: epochs from one ranking to the next.
        k: cutoffs.
        ranker: model to rank with; by default the fitted model. Pass the inner model when a wrapper
            such as `SampledSoftmaxTrainer` is fitted.
        candidates: item ids `(valid rows, c)` to rank among instead of the catalogue.
        items: item features of the catalogue, for models that need more than the item id.
        per: `"user"` or `"row"`, see `kerasrec.evaluation.ranking`.

    Raises:
        ValueError: if `every` is not positive, there are no validation rows, or the model cannot
            rank. From `fit`, as in `ranking`.

    Example:

    >>> import numpy as np
    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 14))
    >>> train = {"user_id": np.array([2, 3]), "item_id": np.array([4, 11])}
    >>> valid = {"user_id": np.array([2, 3]), "item_id": np.array([5, 12])}
    >>> model = MatrixFactorization(schema, embedding_dim=4)
    >>> model.compile("adam", "mse")
    >>> callbacks = [RankingValidation(valid, train)]
    >>> history = model.fit(train, np.ones(2), epochs=2, verbose=0, callbacks=callbacks)
    >>> len(history.history["val_ndcg@10"])
    2
    """

    def __init__(
        self,
        valid: Columns,
        seen: Columns | Sequence[Columns] | None,
        *,
        every: int = 1,
        k: int | Sequence[int] = (10,),
        ranker: Ranker | None = None,
        candidates: np.ndarray | None = None,
        items: Columns | None = None,
        per: Per = "user",
    ) -> None:
        super().__init__()
        check_integer(self, "every", every, 1, hint="It counts epochs.")
        if not isinstance(valid, Mapping) or not valid or not len(next(iter(valid.values()))):
            raise ValueError(
                "RankingValidation: expected encoded validation rows (a dict of arrays); received "
                f"{'none' if isinstance(valid, Mapping) else type(valid).__name__}. Hold some "
                "out, or leave the callback out."
            )
        self.valid, self.seen, self.every, self.k = valid, seen, every, k
        self.ranker, self.candidates, self.items, self.per = ranker, candidates, items, per
        self._blocks: list[dict[str, Any]] = []
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
        self._blocks = _blocks(self.valid, self.seen, self.candidates, schema=model.schema)
        self._epochs_since, self._metrics = None, {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Rank, or repeat the last metrics, and add them to the logs."""
        last = epoch + 1 == (self.params or {}).get("epochs")
        due = self._epochs_since is None or self._epochs_since + 1 >= self.every or last
        if due:
            self._metrics = self.rank()
        self._epochs_since = 0 if due else (self._epochs_since or 0) + 1
        if logs is not None:
            logs.update(self._metrics)

    def rank(self) -> dict[str, float]:
        """Return the metrics of the current weights, under their names in the logs."""
        verbose = (self.params or {}).get("verbose") == 1 and len(self._blocks) > 1
        if verbose:
            print()  # the bar of the epoch occupies the current line
        bar = keras.utils.Progbar(
            len(self._blocks), verbose=int(verbose), unit_name="block of validation users"
        )
        ranked = self._ranked()
        sums: dict[str, float] = {}
        queries = 0
        for block in self._blocks:
            found = ranking(ranked, k=self.k, items=self.items, per=self.per, **block)
            count = int(found["queries"])
            for name, value in found.items():
                # Blocks are averaged with their numbers of queries as weights.
                if name.split("@")[0] in MEANS and isinstance(value, float):
                    sums[name] = sums.get(name, 0.0) + value * count
            queries += count
            bar.add(1)
        return {f"val_{name}": total / queries for name, total in sums.items()}

    def _ranked(self) -> Any:
        return self.model if self.ranker is None else self.ranker


def _blocks(
    valid: Columns,
    seen: Columns | Sequence[Columns] | None,
    candidates: np.ndarray | None,
    *,
    schema: Schema,
) -> list[dict[str, Any]]:
    """Return arguments of `ranking` for blocks of users. Unknown users join the first block.

    Only the positives of the validation rows are kept, since every block needs at least one.
    """
    user = schema.user_id.name
    parts: list[Any] = [seen] if isinstance(seen, Mapping) else list(seen or [])
    for name, columns in [("valid", valid), *(("seen", part) for part in parts)]:
        if user not in columns:
            raise ValueError(
                f"RankingValidation: {name} has no column {user!r}; received {sorted(columns)}. "
                "Pass encoded columns."
            )
    if schema.label in valid:
        chosen = np.flatnonzero(schema.is_positive(np.asarray(valid[schema.label])))
        if len(chosen):  # without any, `ranking` raises the error
            valid = {name: take_rows(values, chosen) for name, values in valid.items()}
            candidates = None if candidates is None else np.asarray(candidates)[chosen]
    users = np.unique(valid[user])
    users = users[users >= FIRST_ID]
    count = max(1, len(users) // USERS_PER_BLOCK)
    firsts = users[np.arange(1, count) * USERS_PER_BLOCK]  # of each block but the first

    def split(columns: Columns) -> list[dict[str, np.ndarray]]:
        numbers = np.searchsorted(firsts, columns[user], side="right")
        rows = [np.flatnonzero(numbers == number) for number in range(count)]
        return [{name: take_rows(v, some) for name, v in columns.items()} for some in rows]

    # Candidates belong to test rows, so they are split together.
    extra = {} if candidates is None else {_CANDIDATES: candidates}
    tests = split({**valid, **extra})
    seens = zip(*map(split, parts), strict=True) if parts else [None] * count
    return [
        {"candidates": test.pop(_CANDIDATES, None), "test": test, "seen": some and list(some)}
        for test, some in zip(tests, seens, strict=True)
    ]
