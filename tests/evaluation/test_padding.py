"""A ranking does not depend on where the padding of the histories stands."""

import dataclasses

import numpy as np
import pytest

from kerasrec.evaluation import pointwise, ranking
from kerasrec.evaluation.queries import SeenPairs, make_queries
from kerasrec.models import GRU4Rec, SASRec, StackedLSTMClassifier
from kerasrec.schema import NumericSequence
from kerasrec.testing import random_inputs, tiny_schema
from kerasrec.testing.assertions import shake
from kerasrec.testing.cases import scattered

SCHEMA = tiny_schema(features=True)
SCHEMA = dataclasses.replace(
    SCHEMA, item=SCHEMA.item[:1], context=(*SCHEMA.context, NumericSequence(
        "gaps", of="gap", max_length=4
    )),
)  # fmt: skip


def front(inputs):
    """Padding as `keras.utils.pad_sequences` puts it."""
    length = (inputs["history"] > 0).sum(axis=1)
    order = (np.arange(4) + length[:, None]) % 4
    moved = {n: np.take_along_axis(inputs[n], order, axis=1) for n in ("history", "gaps")}
    return {**inputs, **moved}


@pytest.mark.parametrize("kind", [SASRec, GRU4Rec, StackedLSTMClassifier])
def test_metrics_stay(kind):
    model = kind(SCHEMA, embedding_dim=8)
    shake(model)
    rows = random_inputs(SCHEMA, 30)
    rows["label"] = (np.arange(30) % 2).astype("float32")
    right = ranking(model, rows, seen=None, k=5, drop_repeats=False)
    errors = pointwise(model, rows)
    assert right["mrr"] > 0
    for name, moved in {
        "in front": front(rows),
        "between": scattered(SCHEMA, rows, 0, seed=1),
        "wide": scattered(SCHEMA, rows, 5, seed=2),
    }.items():
        found = ranking(model, moved, seen=None, k=5, drop_repeats=False)
        for measure in ("mrr", "hr@5", "ndcg@5"):
            assert found[measure] == pytest.approx(right[measure], abs=1e-6), (name, measure)
        assert pointwise(model, moved)["rmse"] == pytest.approx(errors["rmse"], abs=1e-5), name


def test_the_query_of_a_user_is_the_same_row_however_its_histories_are_padded():
    model = SASRec(SCHEMA, embedding_dim=8)
    shake(model)
    rows = random_inputs(SCHEMA, 30, seed=1)
    rows["user_id"] = (2 + np.arange(30) % 5).astype("int32")
    options = {"seen": None, "k": 5, "drop_repeats": False}
    right = ranking(model, rows, **options)
    assert right["mrr"] > 0
    for moved in (front(rows), scattered(SCHEMA, rows, 4, seed=3)):
        assert ranking(model, moved, **options)["mrr"] == pytest.approx(right["mrr"], abs=1e-6)


@pytest.mark.parametrize("first", [[7, 8, 0, 0], [0, 0, 7, 8], [7, 0, 0, 8], [0, 7, 8, 0]])
def test_the_first_row_of_a_user_is_found_however_it_is_padded(first):
    rows = {n: v[:1].repeat(3, axis=0) for n, v in random_inputs(SCHEMA, 1).items()}
    rows["item_id"] = np.array([3, 4, 5], "int32")
    # The file is in no order: the row with the shortest history came first.
    rows["history"] = np.array([[7, 8, 5, 4], first, [7, 8, 5, 0]])
    found = make_queries(rows, SCHEMA, SeenPairs.of(None, SCHEMA), drop_repeats=False, per="user")
    assert found.num_positives.tolist() == [3]
    assert found.test_row.tolist() == [1]
    np.testing.assert_array_equal(found.features["history"], [first])
