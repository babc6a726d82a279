import numpy as np

from kerasrec.evaluation.baseline import MostSeen
from kerasrec.schema import Categorical, Schema


def test_popularity_of_huge_counts_keeps_its_order():
    # 2**24 and 2**24 + 1 are one number in float32.
    schema = Schema(Categorical("user", 4), Categorical("item", 6))
    part = {"item": np.tile(np.array([2, 3]), 2**16)}
    model = MostSeen(schema, [part] * 2**8 + [{"item": np.array([3])}])
    scores = model({"user": np.array([2, 2]), "item": np.array([2, 3])})
    assert scores[0] < scores[1]
