"""Training of history classifiers at every step of a history."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec.data import next_labels
from kerasrec.training.trainer import Trainer, rows_after
from kerasrec.types import Columns, StepClassifier, Tensor

# Column of the weights of labels in validation batches: 0 for the rows before.
WEIGHT = "held_out"


@keras.saving.register_keras_serializable("kerasrec")
class StepwiseTrainer(Trainer):
    """Trainer of a history classifier on `kerasrec.data.next_labels`.

    The loss is the weighted mean of the cross-entropy over the steps, plus the regularisation
    losses of the model. It equals the loss of one history per row, but a history of n events is
    read once and not n times.

    Args:
        model: a model with `step_logits(inputs, position, training)` and `num_classes`, such as
            `StackedLSTMClassifier`. Labels are 0 and 1 if `num_classes` is None, else the class.

    Input shape:
        dict of features and `position`, as from `kerasrec.data.next_labels`; label and weight
        `(batch, length)`.

    Output shape:
        logits `(batch, length)`, and `num_classes`.

    Raises:
        ValueError: if the model has no `step_logits`; in `fit`, if there are no weights.

    Example:

    >>> import numpy as np
    >>> from kerasrec.models import StackedLSTMClassifier
    >>> from kerasrec.schema import Categorical, Schema, IdSequence
    >>> history = IdSequence("history", of="item", max_length=4)
    >>> schema = Schema(user=[Categorical("user", 5), history], item=Categorical("item", 12))
    >>> columns = {"user": np.repeat([2, 3, 4], 3), "item": np.arange(2, 11)}
    >>> columns = {name: values.astype("int32") for name, values in columns.items()}
    >>> columns["label"] = np.arange(9) % 2
    >>> trainer = StepwiseTrainer(StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(8,)))
    >>> trainer.compile("adam")
    >>> batches = trainer.batches(columns, batch_size=2, time=None)
    >>> sorted(trainer.fit(batches, verbose=0).history)
    ['loss']
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        if not isinstance(model, StepClassifier):
            raise ValueError(
                "StepwiseTrainer: expected a classifier of histories, with step_logits; received "
                f"{type(model).__name__}. Fit it by itself."
            )
        super().__init__(model, **kwargs)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the logits of each step."""
        return self.model.step_logits(inputs, inputs["position"], training=training)

    def total_loss(
        self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the losses of the steps, and the sum of the weights."""
        if sample_weight is None:
            raise ValueError(
                "StepwiseTrainer: expected (features, label, weight), as of "
                "kerasrec.data.next_labels; received no weight."
            )
        if self.model.num_classes is None:
            losses = keras.losses.binary_crossentropy(
                y[..., None], y_pred[..., None], from_logits=True
            )
        else:
            losses = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        return ops.sum(losses * sample_weight), ops.sum(sample_weight)

    def make_batches(self, columns: Columns, seen: Columns | None, **options: Any) -> Any:
        """Return batches with the label of each event after a user's first.

        One logit learns whether the event is a positive by `Schema.positive`. Several logits learn
        the label as given.
        """
        schema = self.model.schema

        def labelled(rows: Columns, weight: float) -> dict[str, Any]:
            label = np.asarray(rows[schema.label])
            if self.model.num_classes is None:
                label = schema.is_positive(label).astype(np.float32)
            return {**rows, schema.label: label, WEIGHT: np.full(len(label), weight, np.float32)}

        if seen is None:
            return next_labels(labelled(columns, 1), schema, windows="all", **options)
        # Earlier rows are in the histories, and only held-out rows in the loss.
        rows = rows_after(labelled(seen, 0), labelled(columns, 1), schema.user_id.name)
        return next_labels(rows, schema, weight=WEIGHT, **options).cache()
