"""Cross-validation of several models on the same folds, and of the choice between them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import numpy as np
from scipy.stats import t as student

from kerasrec._checks import check_share
from kerasrec.data.examples.splitting import ExampleSplit
from kerasrec.data.splits.split import Split
from kerasrec.evaluation import metrics
from kerasrec.evaluation.statistics import Interval, Spread, float_values, spread

Fold = TypeVar("Fold", Split, ExampleSplit)


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
        error = corrected_error(d, self.test_share)
        if not error:
            return 0.0 if d.any() else 1.0
        return float(2 * student.sf(abs(d.mean()) / error, len(d) - 1))


def cross_validate(
    models: Mapping[str, Callable[[Fold], Mapping[str, object]]], splits: Iterable[Fold]
) -> CrossValidation:
    """Train and evaluate every model on every fold.

    Args:
        models: by name, a function that trains on the `train` part of a split (with early stopping
            on `valid`, if it has rows), and returns metrics on `test`, as `evaluate` does.
        splits: the folds: `repeated_k_fold`, `time_folds`, `k_fold`, `example_folds` of rows
            without users and items, or any splits.

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
        shares.append(len(split.test or ()) / len(split.train))
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


@dataclasses.dataclass(frozen=True, eq=False)
class NestedCrossValidation:
    """Metrics of a choice between models, made in every fold without its test rows.

    Args:
        metric: metric by which the models were chosen.
        chosen: model chosen in each fold.
        valid: by model, the metric on the validation rows of each fold.
        tested: test metrics of every model on every fold, chosen or not.
    """

    metric: str
    chosen: tuple[str, ...]
    valid: dict[str, np.ndarray]
    tested: CrossValidation

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Return the test metrics of the model chosen in each fold, `(folds,)` by metric."""
        names = next(iter(self.tested.values.values()))
        return {
            name: np.array(
                [self.tested.values[model][name][at] for at, model in enumerate(self.chosen)]
            )
            for name in names
        }

    @property
    def times(self) -> dict[str, int]:
        """Return in how many folds each model was chosen."""
        return {model: self.chosen.count(model) for model in self.valid}

    def interval(self, metric: str | None = None, *, level: float = 0.95) -> Interval:
        """Compute the mean test metric of the chosen models, and its interval.

            mean ± t * sqrt(variance over folds * (1 / folds + test rows / train rows))

        The second term is there because folds share training rows, see `CrossValidation.p`.

        Args:
            metric: name of a metric; None for that of the choice.
            level: level of Student's t interval.

        Raises:
            ValueError: if there is no such metric, or `level` is not between 0 and 1.
        """
        check_share("interval", "level", level, zero=False, one=False, numpy=True)
        name = self.metric if metric is None else metric
        if name not in self.values:
            raise ValueError(
                f"NestedCrossValidation.interval: expected one of {list(self.values)}; received "
                f"{name!r}."
            )
        values = self.values[name]
        mean = float(values.mean())
        if len(values) < 2:
            return Interval(mean, float("nan"), float("nan"))
        error = corrected_error(values, self.tested.test_share)
        width = float(student.ppf(0.5 + level / 2, len(values) - 1) * error)
        return Interval(mean, mean - width, mean + width)

    def rows(self) -> list[dict[str, float | int | str]]:
        """Return the mean test metrics, of the choice first, as rows for `format_table`."""
        made: list[dict[str, float | int | str]] = [
            {"model": "as chosen", "chosen": len(self.chosen)}
        ]
        made[0] |= {name: float(values.mean()) for name, values in self.values.items()}
        for model, found in self.tested.values.items():
            row: dict[str, float | int | str] = {"model": model, "chosen": self.times[model]}
            made.append(row | {name: float(values.mean()) for name, values in found.items()})
        return made


def nested_cross_validate(
    models: Mapping[str, Callable[[Fold], tuple[Mapping[str, object], Mapping[str, object]]]],
    splits: Iterable[Fold],
    *,
    metric: str,
) -> NestedCrossValidation:
    """Measure a choice between models: validation rows choose in each fold, test rows measure.

    The best of several cross-validated means is too good, since the same rows chose and measured
    it. Here the test rows of a fold have no part in its choice, so that the mean is that of the
    whole procedure, choice included (Cawley and Talbot, 2010, "On Over-fitting in Model Selection
    and Subsequent Selection Bias in Performance Evaluation"). Folds may choose different models;
    the one to deploy is chosen in the same way on all rows.

    Args:
        models: by name, a function that trains on the `train` part of a split, and returns metrics
            on `valid` and on `test`. The first of equals is chosen: put simple models first.
        splits: the folds, with validation rows, such as `example_folds`.
        metric: metric of the validation rows that chooses, of the tables of metrics, such as "auc",
            "log_loss", "rmse" or "ndcg@10".

    Raises:
        ValueError: if there is no such metric, a validation metric is NaN for all models, or as in
            `cross_validate`.

    Example:

    >>> from kerasrec.data import Examples
    >>> from kerasrec.evaluation import example_folds
    >>> rows = Examples.from_table({"x": range(40), "label": [0.0, 1.0, 2.0, 9.0] * 10})
    >>> def constant(value):
    ...     def evaluated(split):
    ...         return tuple({"mae": float(abs(part.labels - value(split.train.labels)).mean())}
    ...                      for part in (split.valid, split.test))
    ...     return evaluated
    >>> models = {"mean": constant(np.mean), "median": constant(np.median)}
    >>> found = nested_cross_validate(models, example_folds(rows), metric="mae")
    >>> found.times
    {'mean': 0, 'median': 5}
    """
    quality = _quality(metric)
    valid: dict[str, list[float]] = {model: [] for model in models}

    def tested(model: str) -> Callable[[Fold], Mapping[str, object]]:
        def evaluated(split: Fold) -> Mapping[str, object]:
            on_valid, on_test = models[model](split)
            names = float_values(on_valid)
            if metric not in names:
                raise ValueError(
                    f"nested_cross_validate: {model} gave no {metric!r} of the validation rows; "
                    f"expected one of {list(names)} as metric=."
                )
            valid[model].append(names[metric])
            return on_test

        return evaluated

    found = cross_validate({model: tested(model) for model in models}, splits)
    columns = {model: np.array(values) for model, values in valid.items()}
    chosen = []
    for fold in range(len(found.methods)):
        qualities = {model: quality(float(values[fold])) for model, values in columns.items()}
        defined = {model: value for model, value in qualities.items() if not np.isnan(value)}
        if not defined:
            raise ValueError(
                f"nested_cross_validate: {metric} of the validation rows is NaN for all models in "
                f"fold {fold + 1}. Give more validation rows, or choose by another metric."
            )
        chosen.append(max(defined, key=lambda model: defined[model]))
    return NestedCrossValidation(metric, tuple(chosen), columns, found)


def corrected_error(values: np.ndarray, test_share: float) -> float:
    """Compute the standard error of a mean over folds that share training rows.

    >>> round(corrected_error(np.array([1.0, 2.0, 3.0]), 0.5), 4)
    0.9129
    """
    return float(np.sqrt(values.var(ddof=1) * (1 / len(values) + test_share)))


def _quality(metric: str) -> Callable[[float], float]:
    """Return the function by which a higher value of a metric is better."""
    tables = {**metrics.RANKING, **metrics.RATINGS, **metrics.CLICKS}
    found = tables.get(metric) or tables.get(f"{metrics.kind_of(metric)}@k")
    if found is None:
        raise ValueError(
            f"nested_cross_validate: expected metric= one of {list(tables)}, with a number for k; "
            f"received {metric!r}."
        )
    return found.quality
