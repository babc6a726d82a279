"""ImplicitALS: matrix factorisation of implicit feedback, fitted by alternating least squares."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.models.base import dot
from kerasrec.models.matrix_factorization import MatrixFactorization
from kerasrec.models.profiles import ProfileRecommender
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.training.least_squares import AlternatingLeastSquares
from kerasrec.types import Columns, Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class ImplicitALS(ProfileRecommender):
    """Matrix factorisation that solves for the vector of a user from the items of the user.

        score(u, i) = <p_u, q_i>,    p_u = (sum_{j of u} q_j q_j^T + w Q^T Q + l_u I)^-1 sum_j q_j

    Q are the vectors of all items, w is `unobserved_weight`, and l_u is `l2 n_u^exponent` with n_u
    the number of items of the user plus w times that of all items. `adapt` finds Q by
    `kerasrec.training.AlternatingLeastSquares` (Hu et al., 2008, "Collaborative Filtering for
    Implicit Feedback Datasets"; Rendle et al., 2022, "Revisiting the Performance of iALS on Item
    Recommendation Benchmarks"). A user of the training rows gets the vector of the last iteration,
    and with a history in the schema, anybody is folded in the same way. The score is a sum over the
    items of the user, `<q_j, A^-1 q_i>` with the matrix A above, which `contributions` returns.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        embedding_dim: length of p_u and q_i.
        iterations: number of times that `adapt` solves for all items and all users.
        l2: weight of the penalty.
        unobserved_weight: weight of a pair that is no positive, towards a score of 0.
        exponent: how much more frequent users and items are penalised: 0 for all alike, 1 for
            a penalty in proportion to n.

    Input shape:
        dict with the user id `(batch,)`, or a history `(batch, length)` instead, and the item id
        `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 5))
    >>> model = ImplicitALS(schema, embedding_dim=2)
    >>> model.adapt({"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])})
    >>> scores = model({"user_id": np.array([3, 3]), "item_id": np.array([3, 4])})
    >>> bool(scores[0] > scores[1])  # who has item 2 gets item 3 before item 4
    True
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        iterations: int = 16,
        l2: float = 0.006,
        unobserved_weight: float = 0.2,
        exponent: float = 1.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "embedding_dim", embedding_dim, 1)
        check_integer(self, "iterations", iterations, 1)
        check_number(self, "l2", l2, zero=False)
        check_number(self, "unobserved_weight", unobserved_weight)
        check_number(self, "exponent", exponent)
        self.embedding_dim = embedding_dim
        self.iterations = iterations
        self.l2 = l2
        self.unobserved_weight = unobserved_weight
        self.exponent = exponent
        # Linear systems are solved in float32 under every policy.
        self.item_vectors = self.add_weight(
            shape=(self.schema.item_id.num_ids, embedding_dim),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            autocast=False,
            name="item_vectors",
        )
        self.build()

    def adapt(self, columns: Columns) -> None:
        """Compute the vectors from encoded training columns, replacing any earlier ones.

        Args:
            columns: see `known_positives`.

        Raises:
            ValueError: as in `known_positives`.
        """
        users, items = self.known_positives("adapt", columns)
        ids = self.schema.only(())
        model = MatrixFactorization(ids, embedding_dim=self.embedding_dim, use_bias=False)
        rows = {ids.user_id.name: users, ids.item_id.name: items}
        solver = AlternatingLeastSquares(
            model,
            l2=self.l2,
            unobserved_weight=self.unobserved_weight,
            exponent=self.exponent,
        )
        solver.fit(rows, epochs=self.iterations)
        self.item_vectors.assign(model.item_vectors.embeddings)
        self._assign_rows(users, items)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        return dot(self.query_embedding(inputs), self.item_embedding(inputs))

    def query_embedding(self, inputs: Features) -> Tensor:
        """Return p_u."""
        vectors, equations = self._equations(self.items_of(inputs))
        return ops.solve(equations, ops.sum(vectors, axis=1)[..., None])[..., 0]

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return q_i."""
        return ops.take(self.item_vectors, inputs[self.schema.item_id.name], axis=0)

    def contributions(self, inputs: Features) -> tuple[Tensor, Tensor]:
        """Return what each item of the query adds to a score, which explains the score.

        Args:
            inputs: as for a call.

        Returns:
            int32 ids `(batch, width)` of the items of each query, padded with 0, and float32
            contributions `(batch, width)` or `(batch, candidates, width)`, which add up to the
            score.
        """
        history = self.items_of(inputs)
        vectors, equations = self._equations(history)
        asked = self.item_embedding(inputs)
        one = len(asked.shape) == 2
        columns = ops.transpose(asked[:, None] if one else asked, (0, 2, 1))
        found = ops.transpose(ops.matmul(vectors, ops.solve(equations, columns)), (0, 2, 1))
        return history, found[:, 0] if one else found

    def _equations(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of the items of each user `(batch, width, dim)`, and the matrix A."""
        real = ops.cast(items != 0, "float32")
        vectors = ops.take(self.item_vectors, items, axis=0) * real[..., None]
        every = self.item_vectors[FIRST_ID:]
        others = self.unobserved_weight * every.shape[0]
        penalty = self.l2 * ops.power(ops.sum(real, axis=1) + others, self.exponent)
        # Without items the vector is 0, whatever A is, but A has to have an inverse.
        penalty += ops.cast(ops.sum(real, axis=1) == 0, "float32")
        shared = self.unobserved_weight * ops.matmul(ops.transpose(every), every)
        own = ops.matmul(ops.transpose(vectors, (0, 2, 1)), vectors)
        diagonal = penalty[:, None, None] * np.eye(self.embedding_dim, dtype=np.float32)
        return vectors, own + shared + diagonal

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "iterations": self.iterations,
            "l2": self.l2,
            "unobserved_weight": self.unobserved_weight,
            "exponent": self.exponent,
        }
