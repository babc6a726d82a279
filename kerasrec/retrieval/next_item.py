"""Training of sequential models to predict the next item at every step."""

from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_choice, check_share
from kerasrec.losses import full_softmax_crossentropy, gbce_loss, sampled_softmax
from kerasrec.retrieval.wrapper import LOWEST, RetrieverTrainer
from kerasrec.schema import FIRST_ID
from kerasrec.training.replicas import mean_over_replicas, with_share
from kerasrec.types import Features, SequenceModel, Tensor

LOSSES = ("softmax", "sampled_softmax", "gbce", "bce")


@keras.saving.register_keras_serializable("kerasrec")
class NextItemTrainer(RetrieverTrainer):
    """Wrapper that trains a sequential model on `kerasrec.data.next_items`.

    The loss is the mean over all steps with a target, plus the regularisation losses of the model:

    - `"softmax"`: cross-entropy over the catalogue, see
      `kerasrec.losses.full_softmax_crossentropy`;
    - `"sampled_softmax"`: cross-entropy over the target and the sampled items;
    - `"gbce"`, `"bce"`: binary cross-entropy against the sampled items, with and without the
      correction for small samples, see `kerasrec.losses.gbce_loss`.

    A sampled item equal to the step's target is masked. Items that the user has seen are kept.
    Training samples anew for each batch, validation always uses the same items. Compile the wrapper
    with an optimizer only and fit it, then use the model inside: they share their weights.

    Args:
        model: a retriever with `states(history, position, training)`, such as `SASRec`.
        loss: one of the four losses above.
        negatives: number of items sampled for each batch or step, uniformly and with replacement.
        shared: whether all steps of a batch share the sampled items, so that their scores are one
            matrix product; otherwise each step samples its own.
        calibration: t of `"gbce"`.
        seed: seed of the sampling.

    Input shape:
        dict of the history and `position`, `(batch, length)` each; the target `(batch, length)`, 0
        for none.

    Output shape:
        states `(batch, length, dim)`.

    Raises:
        ValueError: if the model has no states or uses item features other than the id, the loss is
            unknown, or a number is out of range.

    Example:

    >>> import numpy as np
    >>> from kerasrec.data import next_items
    >>> from kerasrec.models import SASRec
    >>> from kerasrec.schema import Categorical, Schema, IdSequence
    >>> history = IdSequence("history", of="item", max_length=4)
    >>> schema = Schema(user=[Categorical("user", 5), history], item=Categorical("item", 12))
    >>> columns = {"user": np.repeat([2, 3, 4], 3), "item": np.arange(2, 11)}
    >>> columns = {name: values.astype("int32") for name, values in columns.items()}
    >>> model = SASRec(schema, embedding_dim=8)
    >>> trainer = NextItemTrainer(model)
    >>> trainer.compile("adam")
    >>> data = next_items(columns, schema, batch_size=2, time=None)
    >>> sorted(trainer.fit(data, shuffle=False, verbose=0).history)
    ['loss']
    """

    def __init__(
        self,
        model: Any,
        *,
        loss: str = "softmax",
        negatives: int = 256,
        shared: bool = True,
        calibration: float = 0.75,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, negatives=negatives, seed=seed, **kwargs)
        if not isinstance(model, SequenceModel):
            raise ValueError(
                "NextItemTrainer: expected a sequence model, with states; received "
                f"{type(model).__name__}. Train it with SampledSoftmaxTrainer."
            )
        check_choice(self, "loss", loss, LOSSES)
        check_share(self, "calibration", calibration, numpy=True)
        self.loss_name = loss
        self.shared = shared
        self.calibration = calibration

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the state of the model after each step."""
        history = inputs[self.model.sequence.name]
        return self.model.states(history, inputs.get("position"), training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the mean over the steps with a target, plus the regularisation losses."""
        if sample_weight is not None:
            raise ValueError("NextItemTrainer: sample weights are not supported; received some.")
        # Collected before replicas take turns: the losses of a layer are those of the current
        # replica.
        penalty = self._penalty(self.model.losses)
        vectors = ops.reshape(y_pred, (-1, y_pred.shape[-1]))  # (batch * length, dim)
        targets = ops.reshape(ops.cast(y, "int32"), (-1,))
        real = targets >= FIRST_ID
        if self.loss_name == "softmax":
            item = self.model.schema.item_id
            everything = ops.arange(FIRST_ID, item.num_ids, dtype="int32")
            items = self.model.item_embedding({item.name: everything})
            total = full_softmax_crossentropy(
                vectors, items, ops.where(real, targets - FIRST_ID, -1)
            )
        else:
            losses = self._against_drawn(vectors, targets, training)
            total = ops.sum(ops.where(real, losses, 0.0))
        # The share of a replica is that of its targets, whose number differs between replicas.
        mean = mean_over_replicas(total, ops.sum(ops.cast(real, "float32")))
        return mean + with_share(penalty, ops.shape(y_pred)[0])

    def _against_drawn(self, vectors: Tensor, targets: Tensor, training: bool) -> Tensor:
        item = self.model.schema.item_id
        rows = () if self.shared else (ops.shape(targets)[0],)
        drawn = self.draw(*rows, training=training)
        right = self.model.item_embedding({item.name: targets})
        positive = ops.cast(ops.sum(vectors * right, axis=-1), "float32")
        others = self.model.item_embedding({item.name: drawn})
        if self.shared:
            scores = ops.matmul(vectors, ops.transpose(others))
        else:
            scores = ops.sum(vectors[:, None] * others, axis=-1)
        scores = ops.where(targets[:, None] == drawn, LOWEST, ops.cast(scores, "float32"))
        if self.loss_name == "sampled_softmax":
            return sampled_softmax(positive, scores)
        rate = min(1.0, self.negatives / (item.num_ids - FIRST_ID - 1))
        calibration = self.calibration if self.loss_name == "gbce" else 0.0
        return gbce_loss(positive, scores, sampling_rate=rate, calibration=calibration)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "loss": self.loss_name,
            "shared": self.shared,
            "calibration": self.calibration,
        }
