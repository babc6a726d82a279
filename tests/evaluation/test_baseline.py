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


def test_popularity_counts_positives_of_every_part():
    schema = Schema(Categorical("user", 4), Categorical("item", 6), positive=">=4")
    parts = [
        {"item": np.array([2, 2, 3]), "label": np.array([5, 1, 4])},
        {"item": np.array([3, 2, 2]), "label": np.array([4, 3, 3])},
        {"item": np.array([4])},  # clicks without a label
    ]
    scores = MostSeen(schema, parts)({"item": np.array([2, 3, 4, 5])})
    assert np.argsort(-scores).tolist()[0] == 1
    assert scores[0] == scores[2] > scores[3]
