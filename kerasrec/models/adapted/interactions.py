"""Base class of models that score all items at once by products with the training rows."""

from keras import ops

from kerasrec.layers.id_matrix import IdMatrix
from kerasrec.models.adapted.base import AdaptedRecommender
from kerasrec.types import Features, Tensor


class InteractionsRecommender(AdaptedRecommender):
    """Base class of models that keep the matrix X of training rows and multiply by it.

        score(u, .) = f(x_u; X)                   x_u: 1 if an item is among the user's items

    Memory follows the number of rows and not the square of the number of items. A subclass stores
    its arguments, calls `build()`, and defines `all_scores`. It is a `PartsRanker`: the part of a
    query holds its scores of all items.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        name: name of the model.
        dtype: dtype or dtype policy.
    """

    user_rows: IdMatrix

    def _make_rows(self) -> IdMatrix:
        num_users, num_items = self.schema.user_id.num_ids, self.schema.item_id.num_ids
        return IdMatrix(num_users, num_items, name="user_rows")

    def all_scores(self, profile: Tensor, inputs: Features) -> Tensor:
        """Return the scores of all items, float32 `(item ids, batch)`.

        Args:
            profile: x_u as a column of each query, float32 `(item ids, batch)`.
            inputs: dict of the query features.
        """
        raise NotImplementedError

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        items = ops.convert_to_tensor(inputs[self.schema.item_id.name])
        scores = self.query_part(inputs)
        if len(items.shape) == 2:
            return ops.take_along_axis(scores, items, axis=1)
        return ops.take_along_axis(scores, items[:, None], axis=1)[:, 0]

    def query_part(self, inputs: Features) -> Tensor:
        """Return the scores of all items, `(batch, item ids)`."""
        return ops.transpose(self.all_scores(ops.transpose(self.profile(inputs)), inputs))

    def item_part(self, inputs: Features) -> Tensor:
        """Return the item ids, `(items, 1)`."""
        return ops.convert_to_tensor(inputs[self.schema.item_id.name])[:, None]

    def score_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Return the scores of every query with every item, `(batch, items)`."""
        # Evaluation keeps parts of all models as float32, which holds ids below 2^24.
        return ops.take(query, ops.cast(items, "int32")[:, 0], axis=1)
