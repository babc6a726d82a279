"""SASRec: next-item prediction by self-attention over a user's history."""

from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers import CausalAttention, Dropout
from kerasrec.layers.histories import seen_by_each
from kerasrec.models.sequential import SequentialRecommender
from kerasrec.schema import Schema
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class SASRec(SequentialRecommender):
    """Self-attentive sequential recommender.

        x_t = sqrt(d) (q_{i(t)} + p_t)
        x <- x + attention(norm(x)),   x <- x + W_2 relu(W_1 norm(x))      num_layers times
        score(u, i) = <norm(x)_n, q_i>                                     n: newest item

    Each step attends to itself and to earlier steps (Kang and McAuley, 2018, "Self-Attentive
    Sequential Recommendation"). Train it with `kerasrec.retrieval.NextItemTrainer` on
    `kerasrec.data.next_items`. A softmax over the catalogue does much better than the binary
    cross-entropy of the paper (Klenitskiy and Vasilev, 2023, "Turning Dross Into Gold Loss"). The
    user id is not used, so new users can be served from their history.

    Deviations from the paper and its reference code (github.com/kang205/SASRec), all of which
    `paper=True` undoes:

    - each attention has a distance bias (`kerasrec.layers.CausalAttention`), since recent items
      matter most, and an output projection;
    - p_t is multiplied by sqrt(d) like q_i, while the reference code multiplies q_i only;
    - t counts from the oldest item of a sequence. The paper pads in front, so that the newest item
      always has the last position;
    - keys and values are computed from norm(x) like the queries, and the residual is x. The
      reference code computes keys and values from x, and the residual is norm(x);
    - dropout follows attention and feed-forward layer. The reference code applies it to the softmax
      weights and on both sides of W_2;
    - layer norms add 1e-6 to the variance instead of 1e-8.

    Two differences remain with `paper=True`: initial values are drawn as here, and the loss is that
    of the trainer.

    Args:
        schema: the features; only the item id and its sequence are used. The `max_length` of the
            sequence is the number of positions.
        embedding_dim: length of q_i and of every state.
        num_layers: number of blocks of attention and feed-forward layer.
        num_heads: number of heads of each attention, a divisor of `embedding_dim`.
        hidden_units: width inside the feed-forward layers; None for `embedding_dim`, as in the
            paper. Four times as much did better on MovieLens 1M.
        dropout: fraction of the units dropped in training.
        stddev: standard deviation of the initial q_i and p_t.
        distance_bias: add a distance bias to each attention; None means `not paper`.
        paper: build the model of the paper, see above.

    Input shape:
        dict with the history `(batch, length)` of any length, newest last, and the item id
        `(batch,)` or `(batch, candidates)`, int32. 0 is padding in any position, and the newest
        `max_length` items are used.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if the schema has no sequence of the item id, an input is missing or a size is
            not positive.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, IdSequence
    >>> history = IdSequence("history", of="item", max_length=3)
    >>> schema = Schema(user=[Categorical("user", 10), history], item=Categorical("item", 12))
    >>> inputs = {"user": np.array([1]), "history": np.array([[4, 5, 0]]), "item": np.array([7])}
    >>> SASRec(schema, embedding_dim=8)(inputs).shape
    TensorShape([1])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 1,
        hidden_units: int | None = None,
        dropout: float = 0.2,
        stddev: float = 0.02,
        distance_bias: bool | None = None,
        paper: bool = False,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, embedding_dim=embedding_dim, stddev=stddev, name=name, dtype=dtype)
        for argument, value in (
            ("num_layers", num_layers),
            ("num_heads", num_heads),
            ("hidden_units", embedding_dim if hidden_units is None else hidden_units),
        ):
            check_integer(self, argument, value, 1)
        if embedding_dim % num_heads:
            raise ValueError(
                f"SASRec: embedding_dim must be a multiple of num_heads={num_heads}; received "
                f"{embedding_dim}."
            )
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.distance_bias = distance_bias
        self.paper = paper
        policy = {"dtype": self.dtype_policy}
        self.places = self.table(self.sequence.max_length, "places")
        self.drop = Dropout(dropout, name="dropout", **policy)

        def norm(name: str) -> keras.layers.Layer:
            epsilon = 1e-8 if paper else 1e-6
            return keras.layers.LayerNormalization(epsilon=epsilon, name=name, **policy)

        self.blocks = [
            (
                norm(f"attention_norm_{index}"),
                CausalAttention(
                    num_heads,
                    self.sequence.max_length,
                    distance_bias=not paper if distance_bias is None else distance_bias,
                    output_projection=not paper,
                    dropout=dropout if paper else 0.0,
                    name=f"attention_{index}",
                    **policy,
                ),
                norm(f"forward_norm_{index}"),
                keras.layers.Dense(
                    hidden_units or embedding_dim,
                    activation="relu",
                    name=f"inner_{index}",
                    **policy,
                ),
                keras.layers.Dense(embedding_dim, name=f"outer_{index}", **policy),
            )
            for index in range(num_layers)
        ]
        self.final_norm = norm("final_norm")
        self.build()

    def _places(self, history: Tensor) -> Tensor:
        places = super()._places(history)
        # 0 at padding tells `_as_published` where a history ends.
        return places * ops.cast(ops.not_equal(history, 0), "int32") if self.paper else places

    def transform(self, vectors: Tensor, position: Tensor, training: bool) -> Tensor:
        """Return the normalised states after the last block."""
        scale = ops.cast(self.embedding_dim**0.5, self.compute_dtype)
        if self.paper:
            return self._as_published(vectors * scale, position, training)
        x = self.drop((vectors + self.places(position)) * scale, training=training)
        for attention_norm, attention, forward_norm, inner, outer in self.blocks:
            x = x + self.drop(attention(attention_norm(x), position), training=training)
            x = x + self.drop(outer(inner(forward_norm(x))), training=training)
        return self.final_norm(x)

    def _as_published(self, vectors: Tensor, position: Tensor, training: bool) -> Tensor:
        # Each later step of the same sequence attends to a step, so that they can be counted.
        later = ops.sum(ops.cast(seen_by_each(position), "int32"), axis=1) - 1
        places = self.places(self.sequence.max_length - 1 - later)
        x = self.drop(vectors + places, training=training)
        for attention_norm, attention, forward_norm, inner, outer in self.blocks:
            queries = attention_norm(x)
            x = forward_norm(queries + attention(x, position, queries, training=training))
            hidden = self.drop(inner(x), training=training)
            x = x + self.drop(outer(hidden), training=training)
        return self.final_norm(x)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden_units": self.hidden_units,
            "dropout": self.dropout,
            "distance_bias": self.distance_bias,
            "paper": self.paper,
        }
