"""Base class of sequential models: reads a user's history and scores items."""

from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers import Embedding
from kerasrec.layers.histories import at_the_end, newest, newest_positions, take_steps
from kerasrec.models.base import Recommender, align
from kerasrec.schema import IdSequence, Schema
from kerasrec.types import Features, Tensor


class SequentialRecommender(Recommender):
    """Base class of models that score an item by the state after the newest item of a history.

        score(u, i) = <state_n, q_i>           n: newest item

    A subclass creates its layers, calls `build()`, and defines `transform`. The user id is not
    used, so new users can be served from their history.

    Args:
        schema: the features; only the item id and its first sequence on the query side are used.
        embedding_dim: length of q_i and of the states.
        stddev: standard deviation of the initial q_i.
        name: name of the model.
        dtype: dtype or dtype policy.

    Raises:
        ValueError: if the schema has no sequence of the item id, or a size is not positive.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int,
        stddev: float,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "embedding_dim", embedding_dim, 1)
        self.embedding_dim = embedding_dim
        self.stddev = stddev
        # Not named `history`, since `fit` sets that attribute.
        self.sequence = self._item_history()
        self.item_vectors = self.table(self.schema.item_id.num_ids, "item_vectors")

    @classmethod
    def narrow(cls, schema: Schema) -> Schema:
        """Return the schema of the ids and the first history of items."""
        return schema.only(feature.name for feature in schema.item_histories[:1])

    def table(self, rows: int, name: str) -> Embedding:
        """Return a new embedding table as wide as the states.

        Args:
            rows: number of vectors.
            name: name of the layer.
        """
        return Embedding(
            rows,
            self.embedding_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=self.stddev),
            name=name,
            dtype=self.dtype_policy,
        )

    def _item_history(self) -> IdSequence:
        item = self.schema.item_id.name
        if self.schema.item_history is None:
            raise ValueError(
                f"{type(self).__name__}: expected a schema with a sequence of {item!r} among the "
                f"user or context features; received {[f.name for f in self.schema.query]}. Add "
                f"IdSequence('history', of={item!r}, max_length=50)."
            )
        return self.schema.item_history

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the items after the histories."""
        items = self.item_embedding(inputs)  # (batch[, candidates], dim)
        query = align(self.query_embedding(inputs, training), items)
        return ops.cast(ops.sum(query * items, axis=-1), "float32")

    def query_embedding(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the state after the newest item."""
        history = newest(inputs[self.sequence.name], self.sequence.max_length)
        return at_the_end(self._states(history, self._places(history), training), history)

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return q_i."""
        return self.item_vectors(inputs[self.schema.item_id.name])

    def states(
        self, history: Tensor, position: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """Return the query vector after each step.

        Args:
            history: ids `(batch, length)`, at most `max_length`, padded with 0 in any position.
            position: position of each step in its own sequence, if several share a row as in
                `kerasrec.data.next_items`; None for one sequence per row.
            training: whether to apply dropout.

        Returns:
            `(batch, length, embedding_dim)`; values at padding are meaningless.
        """
        history = ops.convert_to_tensor(history)
        if position is not None:
            return self._states(history, position, training)
        real = ops.not_equal(history, 0)
        packed = take_steps(history, newest_positions(real, history.shape[1]))
        states = self._states(packed, self._places(packed), training)
        # Back to the positions of the items.
        position = ops.maximum(ops.cumsum(ops.cast(real, "int32"), axis=1) - 1, 0)
        return ops.take_along_axis(states, position[..., None], axis=1)

    def _places(self, history: Tensor) -> Tensor:
        """Return the positions of the steps of right-padded histories, one per row."""
        return ops.arange(history.shape[1], dtype="int32")[None, :]

    def _states(self, history: Tensor, position: Tensor, training: bool) -> Tensor:
        vectors = self.item_vectors(history)
        vectors = vectors * ops.cast(ops.not_equal(history, 0), vectors.dtype)[..., None]
        return self.transform(vectors, position, training)

    def transform(self, vectors: Tensor, position: Tensor, training: bool) -> Tensor:
        """Return the states `(batch, length, embedding_dim)` after each item.

        Args:
            vectors: q of the items, 0 at padding, `(batch, length, embedding_dim)`.
            position: position of each step in its sequence, `(batch, length)` or `(1, length)`.
            training: whether to apply dropout.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "stddev": self.stddev,
        }
