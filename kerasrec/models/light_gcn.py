"""LightGCN: matrix factorisation whose vectors are smoothed over the graph of users and items."""

from typing import Any

import keras
import scipy.sparse
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.layers import Embedding
from kerasrec.layers.bipartite_graph import BipartiteGraph
from kerasrec.models.adapted.base import AdaptedRecommender
from kerasrec.models.base import dot
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns, Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class LightGCN(AdaptedRecommender):
    """Matrix factorisation with vectors smoothed over the graph of the training rows.

        score(u, i) = <e_u, e_i>,    e = 1 / (K + 1) sum_{k=0..K} A^k e^(0),    K = num_layers

    e^(0) are the trained vectors of all users and items, and A links the users and items of the
    training rows, with the weights 1 / sqrt(d_u d_i) of their degrees (He et al., 2020, "LightGCN:
    Simplifying and Powering Graph Convolution Network for Recommendation"). With a `temperature` T
    the score is cos(e_u, e_i) / T, as in `MatrixFactorization`.

    `adapt` takes the graph from the training rows. Scores come from tables of the smoothed e, so
    that a query is a lookup and a dot product, and no graph is served. With `training=True` the
    trained vectors are smoothed anew instead, once for the whole batch. `fit` refreshes the tables
    after each epoch, before validation; call `refresh` after changing trained vectors by hand.
    `GraphSoftmaxTrainer` trains it faster than a loss on pairs.

    If the schema has a sequence of the item id, unknown users are served from their history H, as
    if they had been in the graph without a vector e^(0) of their own:

        e_u = 1 / sqrt(|H|) sum_{i in H} f_i,    f_i = 1 / ((K + 1) sqrt(d_i)) sum_{k<K} e_i^(k)

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        embedding_dim: length of a vector.
        num_layers: K, the number of steps over the graph.
        stddev: standard deviation of the initial e^(0).
        l2: weight of the penalty on the looked-up rows of e^(0).
        temperature: divisor of the cosine, 0.05 to 0.2 for a softmax; None for the dot product.

    Input shape:
        dict with the user id `(batch,)`, a history `(batch, length)` if the schema has one, and the
        item id `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 5))
    >>> model = LightGCN(schema, embedding_dim=8)
    >>> columns = {"user_id": np.array([2, 2, 3]), "item_id": np.array([2, 3, 2])}
    >>> model.adapt(columns)
    >>> model.predict(columns, verbose=0).shape
    (3,)
    """

    user_rows: BipartiteGraph

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        num_layers: int = 3,
        stddev: float = 0.1,
        l2: float = 0.0,
        temperature: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "embedding_dim", embedding_dim, 1)
        check_integer(self, "num_layers", num_layers, 1)
        check_number(self, "stddev", stddev, zero=False)
        if temperature is not None:
            hint = "None stands for the dot product."
            check_number(self, "temperature", temperature, zero=False, hint=hint)
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.stddev = stddev
        self.l2 = l2
        self.temperature = temperature
        users, items = self.schema.user_id.num_ids, self.schema.item_id.num_ids
        # A user is known by the id or, without it, by a history.
        self.known_by = tuple(f.name for f in (self.schema.user_id, *self.schema.item_histories))
        self.user_base = self._table(users, "user_base")
        self.item_base = self._table(items, "item_base")
        self.user_vectors = self._table(users, "user_vectors", trained=False)
        self.item_vectors = self._table(items, "item_vectors", trained=False)
        if self.schema.item_histories:  # f_i
            self.history_vectors = self._table(items, "history_vectors", trained=False)
        self.build()
        self.refresh()

    def _make_rows(self) -> BipartiteGraph:
        num_users, num_items = self.schema.user_id.num_ids, self.schema.item_id.num_ids
        return BipartiteGraph(num_users, num_items, name="user_rows")

    def _table(self, rows: int, name: str, *, trained: bool = True) -> Embedding:
        options = {"dtype": self.dtype_policy, "name": name, "trainable": trained}
        start = keras.initializers.RandomNormal(stddev=self.stddev) if trained else "zeros"
        options |= {"embeddings_initializer": start, "l2": self.l2 if trained else 0.0}
        table = Embedding(rows, self.embedding_dim, **options)
        table.build()
        return table

    def adapt(self, columns: Columns) -> None:
        """Take the graph from training rows, as the base class does. Trained vectors stay."""
        super().adapt(columns)
        self.refresh()

    def _solve(self, matrix: scipy.sparse.csr_matrix) -> None:
        """Compute nothing: the vectors are trained."""

    def refresh(self) -> None:
        """Compute the tables by which the model scores, from the trained vectors and the graph."""
        layers = self._steps()
        users, items = self._smoothed(layers)
        self.user_vectors.embeddings.assign(users)
        self.item_vectors.embeddings.assign(items)
        if self.schema.item_histories:
            # Each item is a neighbour of the user in all layers but the last.
            total = self.user_rows.column_scale() * sum(items for _, items in layers[:-1])
            self.history_vectors.embeddings.assign(total / (self.num_layers + 1))

    def _steps(self) -> list[tuple[Tensor, Tensor]]:
        """Return A^k e^(0) of users and items for all k, float32 under every policy."""
        users, items = self.user_base.embeddings.value, self.item_base.embeddings.value
        return self.user_rows.steps(users, items, self.num_layers)

    def _smoothed(self, layers: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return e of all users and items."""
        users, items = (sum(side) / (self.num_layers + 1) for side in zip(*layers, strict=True))
        return self._query(users), items if self.temperature is None else ops.normalize(items)

    def trained_vectors(self, users: Tensor, *items: Tensor) -> tuple[Tensor, ...]:
        """Return e of ids of users and of items of any shape, with gradients to e^(0)."""
        user_vectors, item_vectors = self._smoothed(self._steps())
        if self.l2:  # a lookup adds the penalty
            self.user_base(users)
            _ = [self.item_base(ids) for ids in items]
        found = (ops.take(item_vectors, ids, axis=0) for ids in items)
        return (ops.take(user_vectors, users, axis=0), *found)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs, in training from the trained vectors."""
        if training:
            schema = self.schema
            ids = (inputs[feature.name] for feature in (schema.user_id, schema.item_id))
            vectors = self.trained_vectors(*ids)
        else:
            vectors = self.query_embedding(inputs), self.item_embedding(inputs)
        return ops.cast(dot(*vectors), "float32")

    def query_embedding(self, inputs: Features) -> Tensor:
        """Return e_u, of unknown users by their history."""
        users = ops.convert_to_tensor(inputs[self.schema.user_id.name])
        vectors = self.user_vectors(users)
        if not self.schema.item_histories:
            return vectors
        history = self.items_of(inputs)
        real = ops.cast(history != 0, vectors.dtype)[..., None]
        count = ops.sum(real, axis=1)
        total = ops.sum(self.history_vectors(history) * real, axis=1)
        folded = self._query(total / ops.sqrt(ops.maximum(count, 1)))
        return ops.where((users < FIRST_ID)[:, None] & (count > 0), folded, vectors)

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return e_i."""
        return self.item_vectors(inputs[self.schema.item_id.name])

    def epoch_logs(self, logs: Any) -> Any:
        """Refresh the tables in `fit`, and return the logs. Keras calls it before validation."""
        if self._fits:
            self.refresh()
        return super().epoch_logs(logs)

    def _query(self, vectors: Tensor) -> Tensor:
        """Return vectors of users, with a temperature of length 1 / T."""
        return vectors if self.temperature is None else ops.normalize(vectors) / self.temperature

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("embedding_dim", "num_layers", "stddev", "l2", "temperature")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
