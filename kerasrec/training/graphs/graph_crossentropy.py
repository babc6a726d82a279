"""Training of retrievers with the constraints of a graph as weights of a cross-entropy."""

from typing import Any

import keras
import numpy as np
import scipy.sparse
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.data.encoding.positive_ids import known_positives, ones_of
from kerasrec.training.trainer import PositivesTrainer
from kerasrec.types import Columns, Features, Tensor

# Items whose counts in common with all others are held at once.
_BLOCK = 1024


@keras.saving.register_keras_serializable("kerasrec")
class GraphCrossentropyTrainer(PositivesTrainer):
    """Trainer of a retriever towards the limit of infinitely many steps over the graph.

        loss(u, i) = beta_ui softplus(-s_ui)
                     + negative_weight / n sum_j beta_uj softplus(s_uj),    j drawn for each batch
                     + neighbour_weight sum_{k in N(i)} omega_ik softplus(-s_uk)

        beta_ui = 1 / d_u sqrt((d_u + 1) / (d_i + 1)),
        omega_ik = G_ik / (g_i - G_ii) sqrt(g_i / g_k),    G = X^T X,    g_i = sum_k G_ik

    (Mao et al., 2021, "UltraGCN: Ultra Simplification of Graph Convolutional Networks for
    Recommendation"). X are the training rows, d the degrees of users and items, and N(i) the
    `neighbours` items with the largest omega. Graph convolution, as in `LightGCN`, pulls the
    vectors of linked users and items together; its limit does so with the weights beta. Training
    `MatrixFactorization` with these weights needs no graph in a step, and serves like it.

    The drawn items are shared by the batch, so that their scores are one matrix product, and each
    pair has its own beta. Of the paper's weights, w_1 and w_3 (of the loss without beta) are 0. The
    penalty on vectors is that of the model. A drawn item equal to the row's own is masked. Every
    row is a positive, so the batches have no labels. Sample weights multiply the losses of rows.

    Args:
        model: a model with `query_embedding` and `item_embedding`, such as `MatrixFactorization`.
        negatives: number of items sampled for each batch, uniformly and with replacement.
        negative_weight: weight of the mean over the sampled items.
        neighbours: number of similar items of each item that count as half positives.
        neighbour_weight: weight of these.
        seed: seed of the sampling.

    Input shape:
        dict of the features of the model, with the item id `(batch,)`.

    Output shape:
        float32 losses `(batch,)`.

    Raises:
        ValueError: if the model is not a retriever or uses item features other than the id, or a
            number is out of range. In `fit`, if there are labels or `adapt` was not called.

    Example:

    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 12))
    >>> columns = {"user_id": np.array([2, 3], "int32"), "item_id": np.array([4, 11], "int32")}
    >>> model = MatrixFactorization(schema, embedding_dim=8, use_bias=False)
    >>> trainer = GraphCrossentropyTrainer(model, negatives=4)
    >>> trainer.adapt(columns)
    >>> trainer.compile("adam")
    >>> history = trainer.fit(trainer.batches(columns, batch_size=2), verbose=0)
    >>> model.predict(columns, verbose=0).shape
    (2,)
    """

    def __init__(
        self,
        model: Any,
        *,
        negatives: int = 512,
        negative_weight: float = 300.0,
        neighbours: int = 10,
        neighbour_weight: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, negatives=negatives, seed=seed, **kwargs)
        check_number(self, "negative_weight", negative_weight)
        check_integer(self, "neighbours", neighbours, 1)
        check_number(self, "neighbour_weight", neighbour_weight)
        self.negative_weight = negative_weight
        self.neighbours = neighbours
        self.neighbour_weight = neighbour_weight
        users, items = model.schema.user_id.num_ids, model.schema.item_id.num_ids
        self.user_weights = self._constants((users,), "user_weights")  # sqrt(d_u + 1) / d_u
        self.item_weights = self._constants((items,), "item_weights")  # 1 / sqrt(d_i + 1)
        self.neighbour_ids = self._constants((items, neighbours), "neighbour_ids", "int32")
        self.neighbour_weights = self._constants((items, neighbours), "neighbour_weights")

    def _constants(self, shape: tuple[int, ...], name: str, dtype: str = "float32") -> Any:
        options = {"dtype": dtype, "initializer": "zeros", "trainable": False, "autocast": False}
        return self.add_weight(shape=shape, name=name, **options)

    def adapt(self, columns: Columns) -> None:
        """Compute beta and omega from encoded training columns.

        Args:
            columns: dict with the user id and the item id `(rows,)` and, if there is one, the
                label, as made by `kerasrec.data.encode`. Only positives count; without a label,
                every row is one. A repeated pair counts once.

        Raises:
            ValueError: if a column is missing, holds ids outside the schema or has another length,
                or no row is a positive with a known user and a known item.
        """
        schema = self.model.schema
        pairs = known_positives(f"{type(self).__name__}.adapt", schema, columns)
        matrix = ones_of(schema, *pairs)
        of_user, of_item = (np.asarray(matrix.sum(axis=axis)).ravel() for axis in (1, 0))
        # A user without rows is in no loss.
        self.user_weights.assign(np.sqrt(of_user + 1) / np.maximum(of_user, 1))
        self.item_weights.assign(1 / np.sqrt(of_item + 1))
        ids, weights = similar_items(matrix, self.neighbours)
        self.neighbour_ids.assign(ids)
        self.neighbour_weights.assign(weights)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train as a model; see `FitModel.fit`."""
        if not np.any(self.item_weights):
            raise ValueError(
                "GraphCrossentropyTrainer: the weights of the graph are not known. Call "
                "trainer.adapt(columns) with the training rows first."
            )
        return super().fit(*args, **kwargs)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the loss of each row."""
        model, schema = self.model, self.model.schema
        user, name = inputs[schema.user_id.name], schema.item_id.name
        own = ops.cast(inputs[name], "int32")
        drawn = self.draw(training=training)
        query = model.query_embedding(inputs)
        scores = ops.cast(ops.sum(query * model.item_embedding(inputs), axis=-1), "float32")
        loss = ops.take(self.item_weights, own) * ops.softplus(-scores)
        others = ops.matmul(query, ops.transpose(model.item_embedding({name: drawn})))
        pushed = ops.where(own[:, None] == drawn, 0.0, ops.softplus(ops.cast(others, "float32")))
        weights = self.negative_weight / self.negatives * ops.take(self.item_weights, drawn)
        loss += ops.matmul(pushed, weights[:, None])[:, 0]
        loss *= ops.take(self.user_weights, user)
        near = ops.take(self.neighbour_ids, own, axis=0)  # (batch, neighbours)
        vectors = model.item_embedding({name: ops.reshape(near, (-1,))})
        vectors = ops.reshape(vectors, (-1, self.neighbours, vectors.shape[-1]))
        scores = ops.cast(ops.einsum("bd,bkd->bk", query, vectors), "float32")
        pulled = ops.take(self.neighbour_weights, own, axis=0) * ops.softplus(-scores)
        return loss + self.neighbour_weight * ops.sum(pulled, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("negative_weight", "neighbours", "neighbour_weight")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def similar_items(matrix: scipy.sparse.csr_matrix, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the other items with the largest omega of each item, and these.

    Args:
        matrix: ones `(user ids, item ids)`.
        count: number of other items.

    Returns:
        int32 ids and float32 weights `(item ids, count)`, both 0 where there are fewer.
    """
    by_item = matrix.T.tocsr()
    degrees = np.asarray(by_item.sum(axis=1)).ravel()
    sums = by_item @ np.asarray(matrix.sum(axis=1)).ravel()  # g_i
    ids = np.zeros((len(sums), count), np.int32)
    weights = np.zeros((len(sums), count), np.float32)
    scale = np.divide(1, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0)
    for start in range(0, len(sums), _BLOCK):
        common = (by_item[start : start + _BLOCK] @ matrix).tocoo()
        item, other = common.row + start, common.col
        kept = item != other
        item, other, both = item[kept], other[kept], common.data[kept]
        omega = both / (sums - degrees)[item] * np.sqrt(sums[item]) * scale[other]
        order = np.lexsort((other, -omega, item))  # the largest of each item first
        item, other, omega = item[order], other[order], omega[order]
        rank = np.arange(len(item)) - np.searchsorted(item, item)
        best = rank < count
        ids[item[best], rank[best]] = other[best]
        weights[item[best], rank[best]] = omega[best]
    return ids, weights
