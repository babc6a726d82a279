"""Base class of models that score all items at once by products with the training rows."""

from kerasrec.layers.id_matrix import IdMatrix
from kerasrec.models.adapted.all_items import AllItemsRecommender


class InteractionsRecommender(AllItemsRecommender):
    """Base class of models that keep the matrix X of training rows and multiply by it.

        score(u, .) = f(x_u; X)                   x_u: 1 if an item is among the user's items

    Memory follows the number of rows and not the square of the number of items. A subclass stores
    its arguments, calls `build()`, and defines `all_scores`.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        name: name of the model.
        dtype: dtype or dtype policy.
    """

    user_rows: IdMatrix

    def _make_rows(self) -> IdMatrix:
        num_users, num_items = self.schema.user_id.num_ids, self.schema.item_id.num_ids
        return IdMatrix(num_users, num_items, name="user_rows")
