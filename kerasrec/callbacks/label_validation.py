"""Metrics of predicted labels on validation rows during `fit`."""

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from kerasrec._checks import check_choice
from kerasrec.callbacks.symptoms import is_broken
from kerasrec.evaluation import click_metrics, rating_errors
from kerasrec.types import Columns, Ranker


class LabelValidation(keras.callbacks.Callback):
    """Predict the labels of validation rows and add `val_rmse`, or `val_auc`, to the logs.

    Unlike `val_loss`, these contain no penalty of the weights, and are what
    `kerasrec.evaluation.rating_errors` and `click_metrics` report of test rows. Put it before the
    callbacks that watch the logs, which need a `mode`, since Keras does not know the direction of a
    metric that it did not compile. A training that another callback has stopped with weights that
    are not finite gets no metrics.

        fit(..., callbacks=[
            LabelValidation(valid, "clicks"),
            keras.callbacks.EarlyStopping("val_auc", mode="max", patience=3),
        ])

    Args:
        valid: encoded validation rows with the label.
        labels: "ratings" adds `val_rmse` and `val_mae`; "clicks", for logits of labels 0 and 1,
            adds `val_auc` and `val_log_loss`.
        clip: lowest and highest possible rating, see `rating_errors`.
        model: model that predicts; by default the fitted one. Pass the inner model when a trainer
            is fitted.

    Raises:
        ValueError: if there are no rows, or `labels` is neither. From `fit`, as in `rating_errors`
            and `click_metrics`.

    Example:

    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user", 4), item=Categorical("item", 5), label="stars")
    >>> rows = {"user": np.array([2, 3]), "item": np.array([4, 3]), "stars": np.array([5.0, 2.0])}
    >>> model = MatrixFactorization(schema, embedding_dim=4)
    >>> model.compile("adam", "mse")
    >>> watch = [LabelValidation(rows, "ratings")]
    >>> sorted(model.fit(rows, rows["stars"], verbose=0, callbacks=watch).history)
    ['loss', 'val_mae', 'val_rmse']
    """

    def __init__(
        self,
        valid: Columns,
        labels: Literal["ratings", "clicks"],
        *,
        clip: tuple[float, float] | None = None,
        model: Ranker | None = None,
    ) -> None:
        super().__init__()
        check_choice(self, "labels", labels, ("ratings", "clicks"))
        if not isinstance(valid, Mapping) or not valid or not len(next(iter(valid.values()))):
            raise ValueError(
                "LabelValidation: expected encoded validation rows (a dict of arrays); received "
                f"{'none' if isinstance(valid, Mapping) else type(valid).__name__}. Hold some out, "
                "or leave the callback out."
            )
        self.valid, self.labels, self.clip, self.predictor = valid, labels, clip, model

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the metrics of the current weights to the logs."""
        if is_broken(self.model):
            return
        model = self.model if self.predictor is None else self.predictor
        if self.labels == "ratings":
            found = rating_errors(model, self.valid, clip=self.clip)
            names = ("rmse", "mae")
        else:
            found = click_metrics(model, self.valid)
            names = ("auc", "log_loss")
        if logs is not None:
            logs.update({f"val_{n}": float(found[n]) for n in names if np.isfinite(found[n])})
