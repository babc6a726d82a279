"""Matrix factorisation: the dot product of a user vector and an item vector."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.layers import Embedding
from kerasrec.models.base import Recommender, dot
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class MatrixFactorization(Recommender):
    """Biased matrix factorisation.

        score(u, i) = mu + b_u + b_i + <p_u, q_i>

    The standard method of collaborative filtering, and a strong baseline when tuned (Koren et al.,
    2009, "Matrix Factorization Techniques for Recommender Systems"; Rendle et al., 2020, "Neural
    Collaborative Filtering vs. Matrix Factorization Revisited"). Train it with mean squared error
    for ratings, or with a softmax over negatives for top-N.

    The L2 penalty applies to the rows that a batch looks up, as in neural matrix factorisation:

        loss + mean over the batch of l2 (||p_u||^2 + ||q_i||^2) + bias_l2 (b_u^2 + b_i^2)

    Frequent users and items are therefore penalised more often.

    With a `temperature` T the score is based on the cosine of the vectors:

        score(u, i) = mu + b_u + b_i + cos(p_u, q_i) / T

    Popular items then do not gain from longer vectors. With a softmax over many negatives this
    ranks sparse catalogues better (Wu et al., 2024, "On the Effectiveness of Sampled Softmax Loss
    for Item Recommendation").

    Args:
        schema: names and sizes of the features; only the user id and the item id are used.
        embedding_dim: length of p_u and q_i.
        use_bias: whether to learn mu, b_u and b_i.
        initial_bias: initial value of mu; the mean training rating is a good choice.
        stddev: standard deviation of the initial p_u and q_i.
        l2: weight of the penalty on p_u and q_i.
        bias_l2: weight of the penalty on b_u and b_i.
        temperature: divisor of the cosine, 0.05 to 0.2 for a softmax; None for the dot product.

    Input shape:
        dict with the user id `(batch,)` and the item id `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size or the temperature is not positive or a weight is
            negative.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 12))
    >>> model = MatrixFactorization(schema, embedding_dim=8)
    >>> model.compile(optimizer="adam", loss="mse")
    >>> columns = {"user_id": np.array([2, 3]), "item_id": np.array([4, 11])}
    >>> history = model.fit(columns, np.array([5.0, 3.0]), verbose=0)
    >>> model.predict(columns, verbose=0).shape
    (2,)
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        use_bias: bool = True,
        initial_bias: float = 0.0,
        stddev: float = 0.1,
        l2: float = 0.0,
        bias_l2: float = 0.0,
        temperature: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "embedding_dim", embedding_dim, 1)
        self.embedding_dim = embedding_dim
        self.use_bias = use_bias
        self.initial_bias = initial_bias
        self.stddev = stddev
        self.l2 = l2
        self.bias_l2 = bias_l2
        if temperature is not None:
            hint = "None stands for the dot product."
            check_number(self, "temperature", temperature, zero=False, hint=hint)
        self.temperature = temperature
        users, items = self.schema.user_id.num_ids, self.schema.item_id.num_ids
        vectors = {
            "l2": l2,
            "embeddings_initializer": keras.initializers.RandomNormal(stddev=stddev),
            "dtype": self.dtype_policy,
        }
        self.user_vectors = Embedding(users, embedding_dim, name="user_vectors", **vectors)
        # Use a fresh initializer: one used twice would give both tables the same numbers.
        vectors["embeddings_initializer"] = keras.initializers.RandomNormal(stddev=stddev)
        self.item_vectors = Embedding(items, embedding_dim, name="item_vectors", **vectors)
        if use_bias:
            bias = {
                "l2": bias_l2,
                "embeddings_initializer": "zeros",
                "dtype": self.dtype_policy,
            }
            self.user_bias = Embedding(users, 1, name="user_bias", **bias)
            self.item_bias = Embedding(items, 1, name="item_bias", **bias)
            self.global_bias = self.add_weight(
                shape=(1,),
                initializer=keras.initializers.Constant(initial_bias),
                name="global_bias",
            )
        self.build()

    @classmethod
    def narrow(cls, schema: Schema) -> Schema:
        """Return the schema of the ids alone."""
        return schema.only()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        users, items = inputs[self.schema.user_id.name], inputs[self.schema.item_id.name]
        user, item = self.user_vectors(users), self.item_vectors(items)
        score = dot(self._scaled(user, self.temperature), self._scaled(item, 1.0))
        if self.use_bias:
            item_bias = ops.squeeze(self.item_bias(items), -1)  # (batch[, candidates])
            bias = self.user_bias(users) + ops.cast(self.global_bias, score.dtype)  # (batch, 1)
            score += item_bias + (bias if len(item_bias.shape) == 2 else ops.squeeze(bias, -1))
        return ops.cast(score, "float32")

    def query_embedding(self, inputs: Features) -> Tensor:
        """Return [p_u, mu + b_u, 1]. Biases are extra columns, so one dot product is enough."""
        ids = inputs[self.schema.user_id.name]
        vectors = self._scaled(self.user_vectors(ids), self.temperature)
        if not self.use_bias:
            return vectors
        bias = self.user_bias(ids) + ops.cast(self.global_bias, vectors.dtype)
        return ops.concatenate([vectors, bias, ops.ones_like(bias)], axis=-1)

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return [q_i, 1, b_i]."""
        ids = inputs[self.schema.item_id.name]
        vectors = self._scaled(self.item_vectors(ids), 1.0)
        if not self.use_bias:
            return vectors
        bias = self.item_bias(ids)
        return ops.concatenate([vectors, ops.ones_like(bias), bias], axis=-1)

    def set_biases(self, mean: float, user: np.ndarray, item: np.ndarray) -> None:
        """Set mu, b_u and b_i. A model without biases stays as it is.

        Args:
            mean: value of mu.
            user: biases by encoded user id, `(num_ids,)`.
            item: biases by encoded item id, `(num_ids,)`.
        """
        if self.use_bias:
            self.global_bias.assign([mean])
            self.user_bias.embeddings.assign(user[:, None])
            self.item_bias.embeddings.assign(item[:, None])

    def _scaled(self, vectors: Tensor, divisor: float | None) -> Tensor:
        """Return the vectors unchanged or, with a temperature, of length 1 / divisor."""
        if self.temperature is None:
            return vectors
        return ops.normalize(vectors, axis=-1) / divisor

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "use_bias": self.use_bias,
            "initial_bias": self.initial_bias,
            "stddev": self.stddev,
            "l2": self.l2,
            "bias_l2": self.bias_l2,
            "temperature": self.temperature,
        }
