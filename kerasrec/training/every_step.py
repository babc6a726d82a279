"""Training of history classifiers at every step of a history."""

from typing import Any

import keras
from keras import ops

from kerasrec.training.replicas import mean_over_replicas, with_share
from kerasrec.training.wrapper import Wrapper
from kerasrec.types import StepClassifier


@keras.saving.register_keras_serializable("kerasrec")
class StepwiseTrainer(Wrapper):
    """Wrapper that trains a history classifier on `kerasrec.data.next_labels`.

    The loss is the weighted mean of the cross-entropy over the steps, plus the regularisation
    losses of the model. It equals the loss of one history per row, but a history of n events is
    read once and not n times. Compile the wrapper with an optimizer only and fit it, then use the
    model inside: they share their weights.

    Args:
        model: a model with `step_logits(inputs, position, training)` and `num_classes`, such as
            `StackedLSTMClassifier`. Labels are 0 and 1 if `num_classes` is None, else the class.
        **kwargs: as for `keras.Model`.

    Input shape:
        dict of features and `position`, as from `kerasrec.data.next_labels`; label and weight
        `(batch, length)`.

    Output shape:
        logits `(batch, length)`, and `num_classes`.

    Raises:
        ValueError: if the model has no `step_logits`; in `fit`, if there are no weights.

    Example:

    >>> import numpy as np
    >>> from kerasrec.data import next_labels
    >>> from kerasrec.models import StackedLSTMClassifier
    >>> from kerasrec.schema import Categorical, Schema, IdSequence
    >>> history = IdSequence("history", of="item", max_length=4)
    >>> schema = Schema(user=[Categorical("user", 5), history], item=Categorical("item", 12))
    >>> columns = {"user": np.repeat([2, 3, 4], 3), "item": np.arange(2, 11)}
    >>> columns = {name: values.astype("int32") for name, values in columns.items()}
    >>> columns["label"] = np.arange(9) % 2
    >>> trainer = StepwiseTrainer(StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(8,)))
    >>> trainer.compile("adam")
    >>> data = next_labels(columns, schema, batch_size=2, time=None)
    >>> sorted(trainer.fit(data, shuffle=False, verbose=0).history)
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

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the weighted mean over the steps plus the regularisation losses."""
        if sample_weight is None:
            raise ValueError(
                "StepwiseTrainer: expected (features, label, weight), as of "
                "kerasrec.data.next_labels; "
                "received no weight."
            )
        # Collected before replicas take turns: the losses of a layer are those of the current
        # replica.
        penalty = self._penalty(self.model.losses)
        if self.model.num_classes is None:
            losses = keras.losses.binary_crossentropy(
                y[..., None], y_pred[..., None], from_logits=True
            )
        else:
            losses = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        mean = mean_over_replicas(ops.sum(losses * sample_weight), ops.sum(sample_weight))
        return mean + with_share(penalty, ops.shape(y_pred)[0])
