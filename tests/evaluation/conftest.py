"""Models made of numpy tables, so that evaluation is tested without TensorFlow."""

import numpy as np
import pytest

from kerasrec.schema import Categorical, Schema


class TableRanker:
    """Scores a pair by looking it up in a table `(user ids, item ids)`."""

    def __init__(self, table, schema=None):
        self.table = np.asarray(table, np.float32)
        users, items = self.table.shape
        self.schema = schema or Schema(
            Categorical("user", users), Categorical("item", items), label="rating"
        )
        self.largest_call = 0

    def __call__(self, inputs, training=False):
        users, items = inputs[self.schema.user_id.name], inputs[self.schema.item_id.name]
        self.largest_call = max(self.largest_call, items.size)
        return self.table[users[:, None] if items.ndim == 2 else users, items]


class TableRetriever(TableRanker):
    """The same scores as products of vectors: rows of the table and unit vectors."""

    def query_embedding(self, inputs):
        return self.table[inputs[self.schema.user_id.name]]

    def item_embedding(self, inputs):
        items = inputs[self.schema.item_id.name]
        return np.eye(self.table.shape[1], dtype=np.float32)[items]


@pytest.fixture(scope="session", params=[TableRanker, TableRetriever], ids=["ranker", "retriever"])
def table_model(request):
    """Both ways in which a model is scored."""
    return request.param


@pytest.fixture(scope="session")
def table_ranker():
    return TableRanker


@pytest.fixture(scope="session")
def table_retriever():
    return TableRetriever
