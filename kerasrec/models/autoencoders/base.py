"""Base class of autoencoders: they read the items of a user and score all items."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec._checks import check_integer, check_memory, check_number, check_share
from kerasrec.layers import Dropout, Embedding
from kerasrec.layers.id_bag import sum_rows
from kerasrec.models.base import dot
from kerasrec.models.profiles import ProfileRecommender
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Features, Tensor

# Logit of ids that are no items, with softmax probability 0.
_LOWEST = -1e9


class AutoencoderRecommender(ProfileRecommender):
    """Base class of models that reconstruct the items of a user through a few numbers.

        score(u, i) = <h(z(x_u)), q_i> + b_i      x_u: 1 at the items of the user, 0 elsewhere

    It is a retriever, whose query vector is [h, 1] and whose item vector is [q_i, b_i]: the row of
    the last layer. Only this row says what `similar_items` finds, not the one by which the first
    layer reads the item. The first layer adds up the rows of the items of the user. A subclass
    creates its layers, calls `make_items` and `build()`, and defines `represent`.

    Train it with `kerasrec.training.AutoencoderTrainer`, on one row per user. Stock `fit` on pairs
    works as for any model, without what `represent` draws and penalises.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        embedding_dim: length of z.
        dropout: fraction of the items of a user that are dropped in training.
        l2: weight of the squares of all weights but the biases.
        name: name of the model.
        dtype: dtype or dtype policy. The first layer is float32 under every policy.

    Raises:
        ValueError: if a size is not positive, `l2` is negative, `dropout` is no share below 1, or
            the rows of the items do not fit into memory.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int,
        dropout: float,
        l2: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "embedding_dim", embedding_dim, 1)
        check_share(self, "dropout", dropout, one=False)
        check_number(self, "l2", l2)
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        self.l2 = l2
        self.profile_drop = Dropout(dropout, name="profile_dropout", dtype="float32")

    def make_profile(self, units: int) -> None:
        """Create the first layer, which `read_profile` applies.

        Args:
            units: its width.

        Raises:
            ValueError: if it does not fit into memory.
        """
        self._check_table(units)
        self.profile_vectors = self.add_weight(
            shape=(self.schema.item_id.num_ids, units),
            initializer="glorot_uniform",
            regularizer=self.penalty(),
            autocast=False,
            name="profile_vectors",
        )
        self.profile_bias = self.add_weight(shape=(units,), initializer="zeros", name="first_bias")

    def make_items(self, units: int) -> None:
        """Create the last layer, with a row for each item.

        Args:
            units: width of h.

        Raises:
            ValueError: if it does not fit into memory.
        """
        self._check_table(units)
        num_ids, policy = self.schema.item_id.num_ids, {"dtype": self.dtype_policy}
        self.item_vectors = Embedding(
            num_ids,
            units,
            embeddings_initializer="glorot_uniform",
            embeddings_regularizer=self.penalty(),
            name="item_vectors",
            **policy,
        )
        self.item_bias = Embedding(
            num_ids, 1, embeddings_initializer="zeros", name="item_bias", **policy
        )

    def _check_table(self, units: int) -> None:
        num_ids = self.schema.item_id.num_ids
        # Weights of 4 bytes, with their gradients and the two moments of Adam.
        hint = "Leave rare items out (min_count=), choose narrower layers, or MatrixFactorization."
        check_memory(self, f"{num_ids - FIRST_ID:,} items", 16 * num_ids * units, hint)

    def penalty(self) -> Any:
        """Return the regularizer of a table or kernel; None without one."""
        return keras.regularizers.L2(self.l2) if self.l2 else None

    def dense(self, units: int, name: str, activation: Any = None) -> keras.layers.Dense:
        """Return a new layer.

        Args:
            units: width of its outputs.
            name: name of the layer.
            activation: as for `keras.layers.Dense`.
        """
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_regularizer=self.penalty(),
            name=name,
            dtype=self.dtype_policy,
        )

    def represent(
        self, items: Tensor, training: bool, *, draw: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return h of bags of items, `(batch, dim)`, and a penalty of each `(batch,)`, or None.

        Args:
            items: int32 ids `(batch, width)`, each once, 0 at padding.
            training: whether to drop some of the items.
            draw: whether to draw z, where it is random, and to compute the penalty.
        """
        raise NotImplementedError

    def read_profile(self, items: Tensor, training: bool) -> Tensor:
        """Return the first layer without its activation, `(batch, dim)`.

        Args:
            items: int32 ids `(batch, width)`, each once, 0 at padding.
            training: whether to drop some of the items.
        """
        weights = self.profile_drop(profile_weights(items), training=training)
        read = sum_rows(self.profile_vectors, items, weights)
        return ops.cast(read, self.compute_dtype) + ops.cast(self.profile_bias, self.compute_dtype)

    def reconstruct(self, items: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Return the logits of all items, and the penalty of each user, see `Autoencoder`.

        Args:
            items: int32 ids `(batch, width)`, each once, 0 at padding.
            training: whether to drop items and to draw z.

        Returns:
            float32 logits `(batch, item ids)`, -1e9 at ids that are no items, and penalties
            `(batch,)`.
        """
        hidden, penalty = self.represent(items, training, draw=training)
        logits = self.logits(hidden, self.item_vectors.embeddings, self.item_bias.embeddings)
        return logits, ops.zeros_like(logits[:, 0]) if penalty is None else penalty

    def logits(self, hidden: Tensor, vectors: Tensor, bias: Tensor) -> Tensor:
        """Return float32 logits `(batch, item ids)`, -1e9 at ids that are no items.

        Args:
            hidden: h, `(batch, dim)`.
            vectors: rows of the items `(item ids, dim)`.
            bias: their biases `(item ids, 1)`.
        """
        vectors = ops.cast(vectors, self.compute_dtype)
        logits = ops.cast(ops.matmul(hidden, ops.transpose(vectors)), "float32")
        no_item = np.arange(self.schema.item_id.num_ids) < FIRST_ID
        lowest = np.where(no_item, np.float32(_LOWEST), np.float32(0))
        return logits + (ops.cast(bias, "float32")[:, 0] + lowest)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        query = self.query_embedding(inputs, training)
        return ops.cast(dot(query, self.item_embedding(inputs)), "float32")

    def query_embedding(self, inputs: Features, training: bool = False) -> Tensor:
        """Return [h, 1]."""
        hidden, _ = self.represent(self.items_of(inputs), training)
        return ops.concatenate([hidden, ops.ones_like(hidden[:, :1])], axis=-1)

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return [q_i, b_i]."""
        items = inputs[self.schema.item_id.name]
        return ops.concatenate([self.item_vectors(items), self.item_bias(items)], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        own = {"embedding_dim": self.embedding_dim, "dropout": self.dropout, "l2": self.l2}
        return {**super().get_config(), **own}


def profile_weights(items: Tensor) -> Tensor:
    """Return the weight of each item in a profile of length 1, float32 `(batch, width)`.

    Args:
        items: int32 ids `(batch, width)`, each once, 0 at padding.

    Example:

    >>> profile_weights(np.array([[5, 6, 7, 8], [0, 5, 0, 0]])).numpy().tolist()
    [[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 0.0, 0.0]]
    """
    real = ops.cast(ops.not_equal(items, 0), "float32")
    return real / ops.sqrt(ops.maximum(ops.sum(real, axis=1, keepdims=True), 1.0))


def log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the logarithm of the normal density of each element.

    Args:
        z: where.
        mean: means.
        log_variance: logarithms of the variances.
    """
    squares = ops.square(z - mean) * ops.exp(-log_variance)
    return -(math.log(2 * math.pi) + log_variance + squares) / 2


def through(value: Tensor, share: Tensor) -> Tensor:
    """Return a value whose gradient is multiplied by 0 or 1.

    Args:
        value: any numbers.
        share: 0 or 1.
    """
    return share * value + (1 - share) * ops.stop_gradient(value)
