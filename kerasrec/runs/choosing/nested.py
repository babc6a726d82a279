"""Cross-validation of the choice between trainings of tables."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras

import kerasrec
from kerasrec.runs.terminal import say

if TYPE_CHECKING:  # at run time, only what uses it pays for its import
    from kerasrec.data import ExampleSplit, PreparedExamples
    from kerasrec.evaluation.cross_validation import NestedCrossValidation

OWNER = "cross_validate_choice"


def cross_validate_choice(
    candidates: Mapping[str, Mapping[str, Any]],
    splits: "Iterable[ExampleSplit]",
    *,
    metric: str = "auc",
    prepared: Mapping[str, Any] | None = None,
    verbose: int = 1,
) -> "NestedCrossValidation":
    """Train every candidate in every fold, choose on its validation rows, measure on its test rows.

    In a fold, the training rows fit the encoders and train the models, the validation rows choose
    the epoch and then the model, and the test rows only measure. See `nested_cross_validate`.

    Args:
        candidates: by name, arguments of `runs.fit` besides the rows, such as `{"model":
            "FeatureMLP", "arguments": {"hidden_units": [32]}, "epochs": 5}`. Put simple ones first:
            the first of equals is chosen.
        splits: the folds, with validation rows, from `evaluation.example_folds`.
        metric: metric of the validation rows that chooses: one of `click_metrics`, or "rmse" or
            "mae" of trainings by mse.
        prepared: arguments of `data.prepare_examples`, such as `{"positive": ">=4"}`.
        verbose: 1 prints a line per fold and candidate on stderr, 0 prints nothing.

    Raises:
        ValueError: if a candidate names no model, a fold has no validation rows, or as in
            `prepare_examples`, `runs.fit` and `nested_cross_validate`.

    Example:

    >>> import numpy as np
    >>> from kerasrec import data, evaluation
    >>> x = np.random.default_rng(0).normal(size=200)
    >>> rows = data.Examples.from_table({"x": x, "label": (x > 0).astype(int)})
    >>> fast = {"epochs": 2, "jit_compile": False}
    >>> found = cross_validate_choice(
    ...     {"linear": {"model": "LogisticRegression", **fast}},
    ...     evaluation.example_folds(rows, folds=2), verbose=0)
    >>> found.times, found.values["auc"].shape
    ({'linear': 2}, (2,))
    """
    for name, given in candidates.items():
        if not isinstance(given, Mapping) or not isinstance(given.get("model"), str):
            raise ValueError(
                f"{OWNER}: candidate {name!r} needs the arguments of runs.fit with the name of a "
                f"model, such as {{'model': 'FeatureMLP', 'epochs': 5}}; received {given!r:.80}."
            )

    @functools.lru_cache(maxsize=1)  # the candidates of a fold follow each other
    def ready_of(split: "ExampleSplit") -> "PreparedExamples":
        if not len(split.valid or ()):
            raise ValueError(
                f"{OWNER}: the fold {split.method!r} has no validation rows to choose on. Make the "
                "folds with valid=0.2."
            )
        return kerasrec.data.prepare_examples(split, **(prepared or {}))

    def trained(name: str, given: Mapping[str, Any]) -> Callable[["ExampleSplit"], Any]:
        def evaluated(split: "ExampleSplit") -> tuple[dict[str, Any], dict[str, Any]]:
            ready = ready_of(split)
            keras.utils.set_random_seed(given.get("seed", 0))
            fitted = kerasrec.runs.fit(ready=ready, verbose=0, **given)
            loss = str(fitted.choices.training.loss)
            valid, test = (
                _measured(fitted.model, fitted.ready, part, loss) for part in ("valid", "test")
            )
            if verbose:
                shown = ", ".join(f"{n} {v:.4f}" for n, v in valid.items() if n == metric)
                say(f"{split.method}: {name}: {shown} on the validation rows.")
            return valid, test

        return evaluated

    return kerasrec.evaluation.nested_cross_validate(
        {name: trained(name, given) for name, given in candidates.items()}, splits, metric=metric
    )


def _measured(model: Any, ready: Any, part: str, loss: str) -> dict[str, Any]:
    """Return the metrics of the predicted labels of a part."""
    rows = getattr(ready, part)
    if loss == "mse":
        return kerasrec.evaluation.rating_errors(model, rows)
    clicks = {**rows, ready.schema.label: ready.positives(rows)}
    return kerasrec.evaluation.click_metrics(model, clicks)
