"""RecVAE: a variational autoencoder with a composite prior and alternating updates."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.layers.dropout import draw_normal
from kerasrec.layers.profile_encoder import ProfileEncoder
from kerasrec.models.autoencoders.base import (
    AutoencoderRecommender,
    log_density,
    profile_weights,
    through,
)
from kerasrec.schema import Schema
from kerasrec.types import Tensor

# Of this many steps, the last one trains the decoder.
_CYCLE = 4
# Logarithm of the variance of the wide part of the prior.
_WIDE = 10.0


@keras.saving.register_keras_serializable("kerasrec")
class RecVAE(AutoencoderRecommender):
    """Variational autoencoder over the items of a user, with a composite prior.

        z_u ~ N(mu(x_u), diag(sigma(x_u)^2))      x_u: 1 at the items of the user, 0 elsewhere
        score(u, i) = <z_u, q_i> + b_i            z_u = mu(x_u) outside of training

    mu and log sigma^2 come from five densely connected layers of x_u, see
    `kerasrec.layers.profile_encoder`. The loss of a user with n_u items is

        - sum over its items of log softmax(score(u, .))_i + gamma n_u log(q(z_u | x_u) / p(z_u))

    with a mixture as prior p, in each element of z_u: N(0, 1), the distribution q of the epoch
    before, and N(0, e^10), with the weights `prior_weights` (Shenbin et al., 2020, "RecVAE: A New
    Variational Autoencoder for Top-N Recommendations with Implicit Feedback").

    Three steps of training update the encoder and the next one the decoder. Items are dropped from
    the input where the encoder is updated. The paper alternates after three epochs and has an
    optimizer for each; here one optimizer alternates by steps, and moves what rests by its
    momentum. `kerasrec.training.AutoencoderTrainer` renews the prior after each epoch.

    Where the items of a user come from, see `ProfileRecommender`: from training by user id, or,
    with a sequence of the item id in the schema, from any history. `similar_items` compares items
    by [q_i, b_i], their columns of the decoder.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        embedding_dim: length of z_u and q_i.
        hidden_units: width of the layers of the encoder.
        dropout: fraction of the items of a user that are dropped where the encoder is updated.
        gamma: weight of the divergence for each item of the user.
        prior_weights: weights of the three parts of the prior, which add up to 1.

    Input shape:
        dict with the user id `(batch,)`, or a history `(batch, length)` instead, and the item id
        `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, `gamma` is negative, `dropout`
            is no share below 1, or the weights of the prior are not three shares of 1.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> from kerasrec.training import AutoencoderTrainer
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 6))
    >>> model = RecVAE(schema, embedding_dim=2, hidden_units=4)
    >>> columns = {"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])}
    >>> trainer = AutoencoderTrainer(model)
    >>> trainer.compile("adam")
    >>> history = trainer.fit(trainer.batches(columns, batch_size=2), verbose=0)
    >>> model.predict({"user_id": np.array([3, 3]), "item_id": np.array([3, 4])}, verbose=0).shape
    (2,)
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 200,
        hidden_units: int = 600,
        dropout: float = 0.5,
        gamma: float = 0.005,
        prior_weights: Sequence[float] = (0.15, 0.75, 0.1),
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema, embedding_dim=embedding_dim, dropout=dropout, name=name, dtype=dtype
        )
        check_integer(self, "hidden_units", hidden_units, 1)
        check_number(self, "gamma", gamma)
        self.hidden_units = hidden_units
        self.gamma = gamma
        self.prior_weights = tuple(prior_weights)
        for weight in self.prior_weights:
            check_number(self, "each of prior_weights", weight, zero=False)
        if len(self.prior_weights) != 3 or not math.isclose(sum(self.prior_weights), 1):
            raise ValueError(
                "RecVAE: prior_weights must be three numbers that add up to 1; received "
                f"{self.prior_weights}."
            )
        sizes = (self.schema.item_id.num_ids, hidden_units, embedding_dim)
        self.encoder = ProfileEncoder(*sizes, name="encoder", dtype=self.dtype_policy)
        self.prior_encoder = ProfileEncoder(*sizes, name="prior_encoder", dtype=self.dtype_policy)
        self.prior_encoder.trainable = False
        self.make_items(embedding_dim)
        self.noise = keras.random.SeedGenerator()
        self.steps = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="steps",
        )
        self.build()
        self.update_prior()

    def update_prior(self) -> None:
        """Take the encoder as it is now for the prior of the next epoch."""
        for old, new in zip(self.prior_encoder.weights, self.encoder.weights, strict=True):
            old.assign(new)

    def represent(
        self, items: Tensor, training: bool, *, draw: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the mean of z. `reconstruct` draws it."""
        weights = self.profile_drop(profile_weights(items), training=training)
        mean, log_variance = self.encoder(items, weights)
        # A gradient of 0, since Keras warns where there is none.
        return (mean + 0 * log_variance if training else mean), None

    def reconstruct(self, items: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Return the logits of all items, and the weighted divergence of each user.

        In training, gradients reach the encoder in three steps and the decoder in the next one.

        Args:
            items: int32 ids `(batch, width)`, each once, 0 at padding.
            training: whether to drop items and to draw z.
        """
        if not training:
            return super().reconstruct(items)
        encodes = ops.cast(ops.mod(self.steps, _CYCLE) < _CYCLE - 1, "float32")
        self.steps.assign_add(ops.ones((), "int32"))
        whole = profile_weights(items)
        dropped = self.profile_drop(whole, training=True)
        found = self.encoder(items, ops.where(encodes > 0, dropped, whole))
        mean, log_variance = (through(ops.cast(one, "float32"), encodes) for one in found)
        z = mean + ops.exp(log_variance / 2) * draw_normal(ops.shape(mean), self.noise)
        own = log_density(z, mean, log_variance)
        divergence = ops.sum(own - self._log_prior(z, items, whole), axis=-1)
        count = ops.sum(ops.cast(ops.not_equal(items, 0), "float32"), axis=-1)
        tables = (self.item_vectors.embeddings, self.item_bias.embeddings)
        decoder = (through(ops.convert_to_tensor(table), 1 - encodes) for table in tables)
        logits = self.logits(ops.cast(z, self.compute_dtype), *decoder)
        return logits, self.gamma * count * divergence

    def _log_prior(self, z: Tensor, items: Tensor, weights: Tensor) -> Tensor:
        """Return the logarithm of the density of each element of z."""
        old = (ops.cast(one, "float32") for one in self.prior_encoder(items, weights))
        mean, log_variance = (ops.stop_gradient(one) for one in old)
        zeros = ops.zeros_like(z)
        parts = (zeros, zeros), (mean, log_variance), (zeros, zeros + _WIDE)
        logs = [
            log_density(z, *part) + math.log(weight)
            for part, weight in zip(parts, self.prior_weights, strict=True)
        ]
        return ops.logsumexp(ops.stack(logs, axis=-1), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = ("hidden_units", "gamma", "prior_weights")
        config = {**super().get_config(), **{name: getattr(self, name) for name in own}}
        del config["l2"]
        return config
