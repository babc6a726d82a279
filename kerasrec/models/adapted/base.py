"""Base class of models that are computed from the training rows, and read the items of a user."""

import scipy.sparse

from kerasrec.data.encoding.positive_ids import ones_of
from kerasrec.models.profiles import ProfileRecommender
from kerasrec.types import Columns


class AdaptedRecommender(ProfileRecommender):
    """Base class of models that `adapt` computes, and that score items for a set of items.

        score(u, i) = f(x_u)_i             x_u: 1 at the items of the user, 0 elsewhere

    Where x_u comes from, see `ProfileRecommender`: from the training rows by user id, or, with a
    sequence of the item id in the schema, from any history. A subclass creates its weights, calls
    `build()`, and defines `call` and `_solve`.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        name: name of the model.
        dtype: dtype or dtype policy. Weights and scores are float32 under every policy.
    """

    def adapt(self, columns: Columns) -> None:
        """Compute the weights from encoded training columns, replacing any earlier ones.

        Args:
            columns: dict with the user id and the item id `(rows,)` and, if there is one, the
                label, as made by `kerasrec.data.encode`. Only positives count; without a label,
                every row is one.

        Raises:
            ValueError: if a column is missing, holds ids outside the schema or has another length,
                or no row is a positive with a known user and a known item.
        """
        users, items = self.known_positives("adapt", columns)
        self._solve(ones_of(self.schema, users, items))
        self._assign_rows(users, items)

    def _solve(self, matrix: scipy.sparse.csr_matrix) -> None:
        """Compute the weights from the matrix of ones `(user ids, item ids)`."""
        raise NotImplementedError
