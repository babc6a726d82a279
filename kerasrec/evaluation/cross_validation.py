"""Cross-validation of several models on the same folds."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy.stats import t as student

from kerasrec.data.splits.split import Split
from kerasrec.evaluation.statistics import Spread, float_values, spread


@dataclasses.dataclass(frozen=True, eq=False)
class CrossValidation:
    """Figures of every model on every fold.

    Args:
        values: by model and metric, one value per fold `(folds,)`.
        methods: description of each fold.
        test_share: mean over the folds of test rows over training rows.
    """

    values: dict[str, dict[str, np.ndarray]]
    methods: tuple[str, ...]
    test_share: float

    def spreads(self) -> dict[str, dict[str, Spread]]:
        """Compute mean and spread over the folds, by model and metric."""
        return {
            model: spread(
                {
                    fold: {name: float(column[fold]) for name, column in metrics.items()}
                    for fold in range(len(self.methods))
                }
            )
            for model, metrics in self.values.items()
        }

    def p(self, first: str, second: str, metric: str) -> float:
        """Compute the two-sided p of two models' difference by the corrected resampled t-test.

            t = mean(d) / sqrt(var(d) * (1 / folds + test rows / train rows)),  folds - 1 degrees

        Folds share training rows, so that their differences d vary less than they would on new
        data, and the plain t-test finds too many differences. The second term corrects for that
        (Nadeau and Bengio, 2003, "Inference for the Generalization Error").

        Args:
            first: name of a model.
            second: name of another.
            metric: such as `"ndcg@10"`.

        Returns:
            p; 1 if the two never differ, NaN for a single fold.

        Raises:
            ValueError: if a name is unknown.
        """
        for model in (first, second):
            if metric not in self.values.get(model, {}):
                raise ValueError(
                    f"CrossValidation.p: expected one of the models {list(self.values)} and one of "
                    f"their metrics {list(next(iter(self.values.values())))}; received {model!r} "
                    f"and {metric!r}."
                )
        d = self.values[first][metric] - self.values[second][metric]
        if len(d) < 2:
            return float("nan")
        error = np.sqrt(d.var(ddof=1) * (1 / len(d) + self.test_share))
        if not error:
            return 0.0 if d.any() else 1.0
        return float(2 * student.sf(abs(d.mean()) / error, len(d) - 1))


def cross_validate(
    models: Mapping[str, Callable[[Split], Mapping[str, object]]], splits: Iterable[Split]
) -> CrossValidation:
    """Train and evaluate every model on every fold.

    Args:
        models: by name, a function that trains on the `train` part of a split (with early stopping
            on `valid`, if it has rows), and returns metrics on `test`, as `evaluate` does.
        splits: the folds: `repeated_k_fold`, `time_folds`, `k_fold`, or any splits.

    Returns:
        `CrossValidation` with the metrics that are floats.

    Raises:
        ValueError: if there are no models or folds, or if metrics differ between folds or between
            models.

    Example:

    >>> from kerasrec.data import Interactions, repeated_k_fold
    >>> rows = Interactions.from_table({
    ...     "user_id": [1, 1, 2, 2], "item_id": [5, 6, 5, 6], "rating": [1.0, 3.0, 2.0, 4.0]},
    ...     time=None)
    >>> def mean(split):
    ...     error = split.test.column("rating") - split.train.column("rating").mean()
    ...     return {"mae": float(abs(error).mean())}
    >>> found = cross_validate({"mean": mean}, repeated_k_fold(rows, folds=2, repeats=3))
    >>> found.values["mean"]["mae"].shape
    (6,)
    """
    found: dict[str, list[dict[str, float]]] = {model: [] for model in models}
    methods, shares = [], []
    for split in splits:
        methods.append(split.method)
        shares.append(len(split.test) / len(split.train))
        for model, evaluated in models.items():
            found[model].append(float_values(evaluated(split)))
    if not models or not methods:
        raise ValueError(
            f"cross_validate: expected at least one model and one fold; received {len(models)} "
            f"models and {len(methods)} folds."
        )
    names = list(next(iter(found.values()))[0])
    for model, rows in found.items():
        for fold, row in enumerate(rows):
            if not row or set(row) != set(names):
                raise ValueError(
                    f"cross_validate: expected the metrics {names} (floats) of every model on "
                    f"every fold; {model} gave {list(row)} on fold {fold + 1}."
                )
    values = {
        model: {name: np.array([row[name] for row in rows]) for name in names}
        for model, rows in found.items()
    }
    return CrossValidation(values, tuple(methods), float(np.mean(shares)))
