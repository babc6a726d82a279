import numpy as np
import pytest

from kerasrec.evaluation import rank, recommend
from kerasrec.evaluation.ranking.scoring import ItemVectors
from kerasrec.schema import Categorical, Schema


class Vectors:
    """A retriever of given vectors."""

    def __init__(self, users, items):
        self.users, self.items = np.float32(users), np.float32(items)
        self.schema = Schema(
            Categorical("user", len(users) + 2), Categorical("item", len(items) + 2), label="rating"
        )

    def __call__(self, inputs, training=False):
        raise NotImplementedError

    def query_embedding(self, inputs):
        return self.users[inputs["user"] - 2]

    def item_embedding(self, inputs):
        return self.items[inputs["item"] - 2]


@pytest.mark.parametrize("dim", [3, 8])
def test_zeros_of_both_signs_are_one_vector(dim):
    """-0.0 equals 0.0, so that vectors which differ in nothing else are repeats of each other."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(33, dim)).astype(np.float32)
    vectors[:, 1] = 0.0
    twins = vectors.copy()
    twins[:, 1] = -0.0
    model = Vectors(rng.normal(size=(5, dim)), np.concatenate([vectors, twins]))
    catalogue = ItemVectors.of(model, {"item": np.arange(2, 68)})
    assert catalogue.repeats.tolist() == list(range(33, 66))
    assert catalogue.originals.tolist() == list(range(33))
    test = {"user": np.arange(2, 7), "item": np.array([2, 3, 40, 66, 67])}
    ranked = rank(model, test, seen=None, k=5)
    assert ranked.positives.tied.tolist() == [1] * 5  # its twin, wherever a product ends
    # Both of a pair lead about equally often.
    found = recommend(model, {"user": np.full(400, 2)}, seen=None, k=2)
    first = found.items[:, 0]
    assert len(np.unique(first)) == 2 and abs((first == first.min()).mean() - 1 / 2) < 0.12
