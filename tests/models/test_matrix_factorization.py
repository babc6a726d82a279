import keras
import numpy as np
import pytest

from kerasrec.models import MatrixFactorization
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "biases": ModelCase(
        MatrixFactorization,
        num_params=USERS * 4 + ITEMS * 4 + USERS + ITEMS + 1,  # p, q, b_u, b_i, mu
        kwargs={"embedding_dim": 4, "l2": 0.01, "bias_l2": 0.001, "initial_bias": 0.5},
    ),
    "dot product": ModelCase(
        MatrixFactorization,
        num_params=USERS * 5 + ITEMS * 5,  # p, q
        kwargs={"embedding_dim": 5, "use_bias": False, "stddev": 0.2},
    ),
    "cosine": ModelCase(
        MatrixFactorization,
        num_params=USERS * 6 + ITEMS * 6 + USERS + ITEMS + 1,
        kwargs={"embedding_dim": 6, "temperature": 0.2},
    ),
    "features it does not use": ModelCase(
        MatrixFactorization,
        schema=tiny_schema(features=True),
        num_params=USERS * 3 + ITEMS * 3 + USERS + ITEMS + 1,
        kwargs={"embedding_dim": 3},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def test_score_is_the_equation():
    model = MatrixFactorization(tiny_schema(), embedding_dim=2, initial_bias=3.0)
    for layer, row in ((model.user_vectors, [1.0, 2.0]), (model.item_vectors, [3.0, -1.0])):
        layer.embeddings.assign(np.tile(row, (layer.input_dim, 1)))
    model.user_bias.embeddings.assign(np.full((USERS, 1), 0.5))
    model.item_bias.embeddings.assign(np.full((ITEMS, 1), -1.0))
    inputs = {"user_id": np.array([2]), "item_id": np.array([2])}
    assert float(model(inputs)[0]) == 3.0 + 0.5 - 1.0 + (1 * 3 - 2 * 1)


def test_with_a_temperature_the_score_is_a_cosine():
    model = MatrixFactorization(tiny_schema(), embedding_dim=2, initial_bias=3.0, temperature=0.1)
    for layer, row in ((model.user_vectors, [3.0, 4.0]), (model.item_vectors, [0.0, 7.0])):
        layer.embeddings.assign(np.tile(row, (layer.input_dim, 1)))
    inputs = {"user_id": np.array([2]), "item_id": np.array([2])}
    assert float(model(inputs)[0]) == pytest.approx(3.0 + 0.8 / 0.1)
    model.item_vectors.embeddings.assign(np.zeros((ITEMS, 2)))
    assert float(model(inputs)[0]) == pytest.approx(3.0)  # no direction, no NaN


def test_l2_is_the_mean_over_the_batch_of_the_rows_it_looked_up():
    model = MatrixFactorization(tiny_schema(), embedding_dim=2, l2=0.1, bias_l2=0.01)
    model.user_vectors.embeddings.assign(np.full((USERS, 2), 2.0))  # ||p||^2 = 8
    model.item_vectors.embeddings.assign(np.full((ITEMS, 2), 1.0))  # ||q||^2 = 2
    model.user_bias.embeddings.assign(np.full((USERS, 1), 3.0))
    model({"user_id": np.array([2, 2, 3]), "item_id": np.array([4, 5, 6])})
    assert float(sum(model.losses)) == pytest.approx(0.1 * (8 + 2) + 0.01 * 9)


def test_l2_is_part_of_the_training_loss():
    model = MatrixFactorization(tiny_schema(), embedding_dim=2, use_bias=False, l2=0.5)
    model.user_vectors.embeddings.assign(np.full((USERS, 2), 1.0))
    model.item_vectors.embeddings.assign(np.full((ITEMS, 2), 0.0))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    inputs = {"user_id": np.array([2, 3]), "item_id": np.array([2, 3])}
    loss = model.evaluate(inputs, np.array([1.0, 1.0]), verbose=0)
    assert loss == pytest.approx(1.0 + 0.5 * 2)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("embedding_dim", 0),
        ("embedding_dim", 2.5),
        ("l2", -1.0),
        ("bias_l2", "a"),
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("temperature", True),
    ],
)
def test_bad_arguments(argument, value):
    with pytest.raises(ValueError, match=f"{argument.removeprefix('bias_')} .*{value!r}"):
        MatrixFactorization(tiny_schema(), **{argument: value})


def test_schema_must_be_a_schema():
    with pytest.raises(ValueError, match="JSON object"):
        MatrixFactorization([1, 2])


def test_biases_that_are_set_are_the_scores_where_vectors_are_0():
    schema = tiny_schema()
    model = MatrixFactorization(schema, embedding_dim=2, stddev=1e-9)
    user, item = np.arange(USERS) / 10, -np.arange(ITEMS) / 100
    model.set_biases(3.5, user, item)
    inputs = {"user_id": np.array([0, 1, 12]), "item_id": np.array([18, 1, 2])}
    expected = [3.5 + 0.0 - 0.18, 3.5 + 0.1 - 0.01, 3.5 + 1.2 - 0.02]
    np.testing.assert_allclose(np.asarray(model(inputs)), expected, rtol=1e-6)


def test_a_model_without_biases_ignores_them():
    model = MatrixFactorization(tiny_schema(), embedding_dim=2, use_bias=False)
    before = model.get_weights()
    model.set_biases(3.5, np.ones(USERS), np.ones(ITEMS))
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))
