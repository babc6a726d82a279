import numpy as np
import pytest

from kerasrec.models import NeuMF
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        NeuMF,
        num_params=(
            2 * (USERS + ITEMS) * 8  # tables of both halves
            + (16 + 1) * 12  # user and item rows -> hidden
            + (12 + 1) * 6  # hidden -> hidden
            + (8 + 6 + 1)  # product and hidden -> score
        ),
        kwargs={"embedding_dim": 8, "hidden_units": (12, 6), "initial_bias": 0.5, "l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        NeuMF,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS) * 8  # of the product
            + (USERS + ITEMS + 6 + 5) * 8  # user, item, genres, device; history reads items
            + (8 + 1 + 8 + 8 + 8 + 8 + 2 + 1) * 16  # user age device history item genres picture
            + (8 + 16 + 1)
        ),
        kwargs={"embedding_dim": 8, "hidden_units": (16,)},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def test_score_is_the_equation():
    model = NeuMF(tiny_schema(), embedding_dim=1, hidden_units=(2,), initial_bias=10.0)
    model.user_vectors.embeddings.assign(np.full((USERS, 1), 4.0))
    model.item_vectors.embeddings.assign(np.full((ITEMS, 1), 0.5))
    tables = model.features.tables
    tables["user_id"].embeddings.assign(np.full((USERS, 1), 3.0))
    tables["item_id"].embeddings.assign(np.full((ITEMS, 1), -5.0))
    model.hidden[0].kernel.assign([[1.0, 2.0], [1.0, -1.0]])  # rows: user, item
    model.hidden[0].bias.assign([0.5, 0.0])
    model.output_layer.kernel.assign([[100.0], [7.0], [2.0]])
    # 4 * 0.5 = 2; relu(3 - 5 + 0.5) = 0 and relu(6 + 5) = 11
    inputs = {"user_id": np.array([2]), "item_id": np.array([2])}
    assert float(model(inputs)[0]) == 100 * 2 + 7 * 0 + 2 * 11 + 10


def test_without_the_perceptron_it_is_a_weighted_dot_product():
    model = NeuMF(tiny_schema(), embedding_dim=4, hidden_units=(3,))
    kernel = np.asarray(model.output_layer.kernel).copy()
    kernel[4:] = 0.0
    model.output_layer.kernel.assign(kernel)
    inputs = random_inputs(tiny_schema(), 16)
    users = np.asarray(model.user_vectors.embeddings)[inputs["user_id"]]
    items = np.asarray(model.item_vectors.embeddings)[inputs["item_id"]]
    expected = (users * items) @ kernel[:4, 0]
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-5, atol=1e-7)


def test_dropout_acts_in_training_only():
    model = NeuMF(tiny_schema(), dropout=0.5)
    inputs = random_inputs(tiny_schema(), 32)
    calm = [np.asarray(model(inputs)) for _ in range(2)]
    shaken = [np.asarray(model(inputs, training=True)) for _ in range(2)]
    assert np.array_equal(*calm)
    assert not np.array_equal(*shaken)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("embedding_dim", 0), ("hidden_units", (8, 0)), ("hidden_units", ()), ("l2", -0.1)],
)
def test_bad_arguments(argument, value):
    number = (value or (0,))[-1] if argument == "hidden_units" else value
    with pytest.raises(ValueError, match=f"{argument}.*{number!r}"):
        NeuMF(tiny_schema(), **{argument: value})
