import numpy as np
import pytest

from kerasrec.data import Interactions
from kerasrec.datasets.optimum import Optimum

OPTIMUM = Optimum(
    user_ids=np.array([10, 11]),
    item_ids=np.array(["a", "b", "c"], object),
    expected=np.array([[5.0, 4.0, 1.0], [1.0, 2.0, 3.0]]),
    affinity=np.zeros((2, 3)),
    rmse=0.5,
)


def seen(*pairs):
    users, items = zip(*pairs, strict=True)
    return Interactions.from_table(
        {"user_id": users, "item_id": items}, label=None, time=None
    )  # fmt: skip


def test_expected_ratings():
    assert OPTIMUM.expected_ratings([11, 10], ["c", "b"]).tolist() == [3.0, 4.0]


def test_best_unseen_items_and_regret():
    rows = seen((10, "a"), (11, "a"))
    assert OPTIMUM.best_items(rows).tolist() == ["b", "c"]
    assert OPTIMUM.regret(["b", "c"], rows) == 0.0
    assert OPTIMUM.regret(["c", "b"], rows) == (3 + 1) / 2
    assert OPTIMUM.expected[0, 0] == 5.0  # unchanged


def test_messages():
    rows = seen((10, "a"))
    with pytest.raises(ValueError, match=r"one item id per user, of shape \(2,\); received \(1,\)"):
        OPTIMUM.regret(["a"], rows)
    with pytest.raises(ValueError, match="expected item ids .* such as a; received z"):
        OPTIMUM.expected_ratings([10], ["z"])
    with pytest.raises(ValueError, match="has seen all 3 items"):
        OPTIMUM.best_items(seen((10, "a"), (10, "b"), (10, "c")))
