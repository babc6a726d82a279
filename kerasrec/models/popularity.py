"""Popularity baseline: recommends the most frequent items of the training data to every user."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec.data.encoding.positive_ids import positive_ids
from kerasrec.models.base import Recommender, align
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns, Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class Popularity(Recommender):
    """Non-personalised baseline that scores items by their number of training rows.

        score(u, i) = count_i

    count_i is the number of training rows of the item that are positives by `Schema.positive`.
    Nothing is trained: `adapt` counts. Equal counts give equal scores. Different counts give
    different scores up to 2^24 rows per item.

    Args:
        schema: names and sizes of the features; only the item id is used.

    Input shape:
        dict with the user id `(batch,)` and the item id `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 5))
    >>> model = Popularity(schema)
    >>> model.adapt({"item_id": np.array([3, 3, 4])})
    >>> scores = model({"user_id": np.array([2, 2]), "item_id": np.array([3, 4])})
    >>> bool(scores[0] > scores[1])
    True
    """

    def __init__(self, schema: Schema, *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        # float32 under every policy: bfloat16 would merge different counts.
        self.item_scores = self.add_weight(
            shape=(self.schema.item_id.num_ids, 1),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            autocast=False,
            name="item_scores",
        )
        self.build()

    @classmethod
    def narrow(cls, schema: Schema) -> Schema:
        """Return the schema of the ids alone."""
        return schema.only()

    def adapt(self, columns: Columns) -> None:
        """Count the items of encoded training columns, replacing any earlier count.

        Args:
            columns: dict with the item id `(rows,)` and, if there is one, the label, as made by
                `kerasrec.data.encode`. Without a label, every row is a positive.

        Raises:
            ValueError: if the column is missing or holds ids outside the schema, the label has
                another length, or no row is a positive.
        """
        item = self.schema.item_id
        (ids,) = positive_ids("Popularity.adapt", self.schema, columns, (item,))
        counts = np.bincount(ids, minlength=item.num_ids)
        counts[:FIRST_ID] = 0  # padding and unknown are not items
        self.item_scores.assign(counts.astype("float32")[:, None])

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        items = self.item_embedding(inputs)  # (batch[, candidates], 1)
        query = align(self.query_embedding(inputs), items)
        return ops.sum(query * items, axis=-1)

    def query_embedding(self, inputs: Features) -> Tensor:
        """Return [1], the same for every user."""
        ids = inputs[self.schema.user_id.name]
        return ops.ones_like(ops.expand_dims(ids, -1), dtype="float32")

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return [count_i]."""
        return ops.take(self.item_scores, inputs[self.schema.item_id.name], axis=0)
