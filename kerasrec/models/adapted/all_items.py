"""Base class of models that score all items of a query at once."""

from keras import ops

from kerasrec.models.adapted.base import AdaptedRecommender
from kerasrec.types import Features, Tensor


class AllItemsRecommender(AdaptedRecommender):
    """Base class of models whose scores of all items are one sparse product.

        score(u, .) = f(x_u)                      x_u: 1 if an item is among the user's items

    A subclass stores its arguments, calls `build()`, and defines `all_scores`. It is a
    `PartsRanker`: the part of a query holds its scores of all items.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        name: name of the model.
        dtype: dtype or dtype policy.
    """

    def all_scores(self, profile: Tensor, inputs: Features) -> Tensor:
        """Return the scores of all items, float32 `(item ids, batch)`.

        Args:
            profile: x_u as a column of each query, float32 `(item ids, batch)`.
            inputs: dict of the query features.
        """
        raise NotImplementedError

    def pair_scores(self, inputs: Features) -> Tensor:
        """Return the score of one item for each query, `(batch,)`."""
        items = ops.convert_to_tensor(inputs[self.schema.item_id.name])
        return ops.take_along_axis(self.query_part(inputs), items[:, None], axis=1)[:, 0]

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        items = ops.convert_to_tensor(inputs[self.schema.item_id.name])
        if len(items.shape) == 1:
            return self.pair_scores(inputs)
        return ops.take_along_axis(self.query_part(inputs), items, axis=1)

    def scores_of_items(self, items: Tensor) -> Tensor:
        """Return the scores of all items for users with one item each, see `OneItemRanker`.

        Args:
            items: int32 ids `(batch,)`.
        """
        profile = ops.transpose(ops.one_hot(items, self.schema.item_id.num_ids, dtype="float32"))
        nobody = {self.schema.user_id.name: ops.zeros_like(items)}
        return ops.transpose(self.all_scores(profile, nobody))

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
