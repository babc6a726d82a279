"""Training of autoencoders on the items of one user per row."""

from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.data.batches.user_profiles import ITEMS, TARGETS, user_profiles
from kerasrec.training.fit_model import FIT
from kerasrec.training.trainer import Trainer
from kerasrec.types import Autoencoder, Columns, Features, MovingPrior, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class AutoencoderTrainer(Trainer):
    """Trainer of an autoencoder by a multinomial likelihood, one row per user.

        loss(u) = - sum over the items i of u of log softmax(logits_u)_i + a penalty(u)

    The softmax is over all items, in float32. The loss is the mean over users, plus the
    regularisation losses of the model. The penalty is that of the model, such as a weighted KL
    divergence. Its share a rises linearly from 0 to 1 in the first `anneal_steps` steps, which are
    counted by a weight, so that a training that is continued does not begin anew.

    `batches` of training rows also makes the model keep these rows, by which it knows the users. In
    validation the model reads the training rows and predicts the other items, without noise, and
    without the penalty. The prior of a model with `update_prior` is renewed after each epoch.

    Args:
        model: a model with `reconstruct` and `keep_rows`, such as `MultVAE`.
        anneal_steps: steps until the penalty counts in full; 0 for the first one.

    Input shape:
        dict of int32 `items` `(batch, width)`, each once, padded with 0; and `targets`, likewise,
        where other items are predicted than those that are read.

    Output shape:
        float32 losses `(batch,)`.

    Raises:
        ValueError: if the model is no autoencoder, or `anneal_steps` is negative. In `fit`, if
            there are labels or sample weights.

    Example:

    >>> import numpy as np
    >>> from kerasrec.models import MultVAE
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 6))
    >>> columns = {"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])}
    >>> trainer = AutoencoderTrainer(MultVAE(schema, embedding_dim=2), anneal_steps=10)
    >>> trainer.compile("adam")
    >>> sorted(trainer.fit(trainer.batches(columns, batch_size=2), verbose=0).history)
    ['loss']
    """

    def __init__(self, model: Any, *, anneal_steps: int = 0, **kwargs: Any) -> None:
        if not isinstance(model, Autoencoder):
            raise ValueError(
                "AutoencoderTrainer: expected a model with reconstruct and keep_rows; received "
                f"{type(model).__name__}. Train it with SampledSoftmaxTrainer."
            )
        super().__init__(model, **kwargs)
        check_integer(self, "anneal_steps", anneal_steps, 0)
        self.anneal_steps = anneal_steps
        self.steps = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="steps",
        )

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `FitModel.fit`. A prior that moves is renewed after each epoch."""
        given = FIT.bind(self, *args, **kwargs).arguments
        callbacks = given.pop("callbacks", None)
        del given["self"]
        if isinstance(self.model, MovingPrior):
            # Before others, which may save what an epoch ends with.
            callbacks = [_RenewedPrior(), *keras.tree.flatten(callbacks or [])]
        return super().fit(**given, callbacks=callbacks)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the loss of each user."""
        items = ops.convert_to_tensor(inputs[ITEMS])
        targets = ops.convert_to_tensor(inputs.get(TARGETS, items))
        logits, penalty = self.model.reconstruct(items, training=training)
        losses = multinomial_loss(logits, targets)
        if not training:
            return losses
        share = ops.minimum(self.steps / self.anneal_steps, 1.0) if self.anneal_steps else 1.0
        losses += share * penalty
        self.steps.assign_add(ops.ones(()))
        return losses

    def total_loss(
        self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses of the users, and their number."""
        if sample_weight is not None or any(part is not None for part in keras.tree.flatten(y)):
            raise ValueError(
                "AutoencoderTrainer: every row is a user with its items, so labels and sample "
                "weights would be ignored; received some. Fit it on trainer.batches(columns, "
                "batch_size=...)."
            )
        return ops.sum(y_pred), ops.cast(ops.shape(y_pred)[0], "float32")

    def make_batches(self, columns: Columns, seen: Columns | None, **options: Any) -> Any:
        """Return one row per user, in which the order of rows by time has no part."""
        del options["time"]
        batches = user_profiles(columns, self.model.schema, seen=seen, **options)
        if seen is not None:
            return batches.cache()
        with self.distribute_strategy.scope():
            self.model.keep_rows(columns)
        return batches

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "anneal_steps": self.anneal_steps}


class _RenewedPrior(keras.callbacks.Callback):
    """Callback that renews the prior of the model of a trainer."""

    # Nothing happens within an epoch.
    counts_batches = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Renew the prior."""
        self.model.model.update_prior()


def multinomial_loss(logits: Tensor, items: Tensor) -> Tensor:
    """Return the negative log-likelihood of bags of items, in float32 `(batch,)`.

    Args:
        logits: `(batch, item ids)`, very low at ids that are no items.
        items: int32 ids `(batch, width)`, each once, 0 at padding.

    Example:

    >>> import numpy as np
    >>> logits = np.float32([[-1e9, -1e9, 0, 0, 0, 0]])
    >>> loss = multinomial_loss(logits, np.array([[3, 5, 0]]))  # 2 log 4
    >>> round(float(loss[0]), 4)
    2.7726
    """
    logits, real = ops.cast(logits, "float32"), ops.not_equal(items, 0)
    log_shares = ops.take_along_axis(logits, items, axis=1) - ops.logsumexp(
        logits, axis=1, keepdims=True
    )
    return -ops.sum(ops.where(real, log_shares, 0.0), axis=1)
