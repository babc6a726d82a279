import dataclasses

import numpy as np
import pytest

from kerasrec.models import Popularity
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

CASE = ModelCase(Popularity, num_params=17 + 2, trains=False)  # one score an item


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check):
    check(CASE)


def adapted(items):
    model = Popularity(tiny_schema())
    model.adapt({"item_id": np.array(items, "int32")})
    return model


def scores(model, items):
    return np.asarray(model({"user_id": np.full(len(items), 2), "item_id": np.array(items)}))


def test_score_is_the_count():
    model = adapted([3, 3, 3, 4, 5, 5])
    assert scores(model, [3, 5, 4, 6]).tolist() == [3, 2, 1, 0]


def test_padding_and_unknown_are_not_counted():
    assert scores(adapted([0, 0, 1, 1, 3]), [0, 1, 3]).tolist() == [0, 0, 1]


def test_a_second_adapt_forgets_the_first():
    model = adapted([3, 3])
    model.adapt({"item_id": np.array([4])})
    assert scores(model, [3, 4]).tolist() == [0, 1]


def test_everybody_gets_the_same():
    model = adapted([3, 3, 4])
    inputs = {"user_id": np.array([1, 2, 9]), "item_id": np.array([[3, 4]] * 3)}
    assert np.ptp(np.asarray(model(inputs)), axis=0).tolist() == [0, 0]


@pytest.mark.parametrize(
    "items", [np.array([19]), np.array([-1]), np.array([0.5]), np.array(["a"])]
)
def test_bad_ids(items):
    with pytest.raises(ValueError, match="integer ids from 0 to 18"):
        Popularity(tiny_schema()).adapt({"item_id": items})


def test_missing_column():
    with pytest.raises(ValueError, match="missing column 'item_id'"):
        Popularity(tiny_schema()).adapt({"movie": np.array([2])})


@pytest.mark.parametrize(
    ("rule", "expected"), [(">0", [2, 1, 0]), (">=4", [1, 1, 0]), (">=0", [2, 2, 1])]
)
def test_positives_alone_are_counted(rule, expected):
    model = Popularity(dataclasses.replace(tiny_schema(), positive=rule))
    model.adapt({"item_id": np.array([3, 3, 4, 4, 5]), "label": np.array([5, 1, 4, 0, 0])})
    assert scores(model, [3, 4, 5]).tolist() == expected


def test_labels_that_count_nothing():
    ids = np.array([3, 4])
    with pytest.raises(ValueError, match="none of 2 rows has a 'label' >0"):
        Popularity(tiny_schema()).adapt({"item_id": ids, "label": np.zeros(2)})
    with pytest.raises(ValueError, match="expected one label per item"):
        Popularity(tiny_schema()).adapt({"item_id": ids, "label": np.zeros(3)})
