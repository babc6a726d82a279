"""Mult-VAE: a variational autoencoder with a multinomial likelihood."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.layers.dropout import draw_normal
from kerasrec.models.autoencoders.base import AutoencoderRecommender
from kerasrec.schema import Schema
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class MultVAE(AutoencoderRecommender):
    """Variational autoencoder over the items of a user, with a multinomial likelihood.

        z_u ~ N(mu(x_u), diag(sigma(x_u)^2))      x_u: 1 at the items of the user, 0 elsewhere
        score(u, i) = <h(z_u), q_i> + b_i         z_u = mu(x_u) outside of training

    mu, log sigma^2 and h are layers of tanh units: of x_u, scaled to length 1, and of z_u. The
    loss of a user, with the n_u items that it has, is

        - sum over its items of log softmax(score(u, .))_i + beta KL(N(mu, sigma^2) || N(0, I))

    (Liang et al., 2018, "Variational Autoencoders for Collaborative Filtering"). In training,
    `dropout` of the items are hidden from the input, and `kerasrec.training.AutoencoderTrainer`
    lets the weight of the KL divergence rise from 0 to `beta`. The defaults are those of the paper.

    Where the items of a user come from, see `ProfileRecommender`: from training by user id, or,
    with a sequence of the item id in the schema, from any history. `similar_items` compares items
    by [q_i, b_i], their columns of the decoder.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        embedding_dim: length of z_u.
        hidden_units: widths of the hidden layers of the encoder; those of the decoder are the same
            in reverse.
        dropout: fraction of the items of a user that are dropped in training.
        beta: weight of the KL divergence.
        l2: weight of the squares of all weights but the biases.

    Input shape:
        dict with the user id `(batch,)`, or a history `(batch, length)` instead, and the item id
        `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, there is no hidden layer, a size is not positive, a
            weight is negative, or `dropout` is no share below 1.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> from kerasrec.training import AutoencoderTrainer
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 6))
    >>> model = MultVAE(schema, embedding_dim=2, hidden_units=(4,))
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
        hidden_units: Sequence[int] = (600,),
        dropout: float = 0.5,
        beta: float = 0.2,
        l2: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema, embedding_dim=embedding_dim, dropout=dropout, l2=l2, name=name, dtype=dtype
        )
        check_number(self, "beta", beta)
        self.beta = beta
        self.hidden_units = tuple(hidden_units)
        if not self.hidden_units:
            raise ValueError(
                "MultVAE: hidden_units must hold one width or more; received (). Without hidden "
                "layers, take MultDAE."
            )
        for units in self.hidden_units:
            check_integer(self, "each of hidden_units", units, 1)
        self.make_profile(self.hidden_units[0])
        self.make_items(self.hidden_units[0])
        self.encoder = [
            self.dense(units, f"encoder_{at}", "tanh")
            for at, units in enumerate(self.hidden_units[1:], 1)
        ]
        self.mean = self.dense(embedding_dim, "mean")
        self.log_variance = self.dense(embedding_dim, "log_variance")
        self.decoder = [
            self.dense(units, f"decoder_{at}", "tanh")
            for at, units in enumerate(reversed(self.hidden_units))
        ]
        self.noise = keras.random.SeedGenerator()
        # A call does not build it: scores are those of the mean.
        self.log_variance.build((None, self.hidden_units[-1]))
        self.build()

    def represent(
        self, items: Tensor, training: bool, *, draw: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return h of the mean of z, or of a drawn z and the weighted KL divergences."""
        hidden = ops.tanh(self.read_profile(items, training))
        for layer in self.encoder:
            hidden = layer(hidden)
        z, divergence = self.mean(hidden), None
        log_variance = self.log_variance(hidden) if training else z
        if draw:
            mean = ops.cast(z, "float32")
            log_variance = ops.cast(log_variance, "float32")
            divergence = self.beta * divergence_of(mean, log_variance)
            noise = draw_normal(ops.shape(mean), self.noise)
            z = ops.cast(mean + ops.exp(log_variance / 2) * noise, z.dtype)
        elif training:
            z += 0 * log_variance  # a gradient of 0, since Keras warns where there is none
        for layer in self.decoder:
            z = layer(z)
        return z, divergence

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "hidden_units": self.hidden_units, "beta": self.beta}


def divergence_of(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, I)) `(batch,)`.

    Args:
        mean: `(batch, dim)`.
        log_variance: logarithms of the variances, `(batch, dim)`.
    """
    terms = ops.exp(log_variance) + ops.square(mean) - log_variance - 1
    return ops.sum(terms, axis=-1) / 2
