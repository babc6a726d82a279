import numpy as np
import pytest

from kerasrec.models import FactorizationMachine, NeuralFM
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        NeuralFM,
        num_params=(USERS + ITEMS) * (8 + 1) + (8 + 1) * 12 + (12 + 1),  # v and w of each id
        kwargs={"embedding_dim": 8, "hidden_units": (12,), "embedding_l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        NeuralFM,
        schema=tiny_schema(features=True),
        num_params=((USERS + ITEMS + 6 + 5 + 1 + 2) * (4 + 1) + (4 + 1) * 8 + (8 + 1)),
        kwargs={"embedding_dim": 4, "hidden_units": (8,)},
    ),
    "a table": ModelCase(
        NeuralFM,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9 + 1 + 2 + 3) * (4 + 1) + (4 + 1),
        kwargs={"embedding_dim": 4, "hidden_units": ()},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
# The other two cases cover ids as well.
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=pytest.mark.nightly if n == "ids" else (), id=n)
        for n, c in CASES.items()
    ],
)
def test_contract(case, check):
    check(case)


def test_score_is_the_equation():
    schema = Schema(context=[Categorical("a", 3), Numeric("x"), Categorical("b", 3)])
    model = NeuralFM(schema, embedding_dim=2, hidden_units=(1,))
    model.fields.tables["a"].embeddings.assign([[9, 9, 9], [9, 9, 9], [1, 2, 10]])  # v, v, w
    model.fields.tables["b"].embeddings.assign([[9, 9, 9], [9, 9, 9], [3, 1, 20]])
    model.fields.vectors["x"].assign([[2, 4, 30]])
    model.mlp.hidden[0].kernel.assign([[1], [2]])
    model.output_layer.kernel.assign([[7]])
    model.output_layer.bias.assign([100])
    # a = (1, 2), b = (3, 1), x = 0.5 (2, 4)
    pairs = (1 * 3 + 1 * 1 + 3 * 1, 2 * 1 + 2 * 2 + 1 * 2)
    deep = 7 * (1 * pairs[0] + 2 * pairs[1])
    inputs = {"a": np.array([2]), "b": np.array([2]), "x": np.array([0.5])}
    assert float(model(inputs)[0]) == 100 + (10 + 20 + 0.5 * 30) + deep


def test_without_hidden_layers_and_with_equal_weights_it_is_a_factorization_machine():
    schema = tiny_schema(features=True)
    model = NeuralFM(schema, embedding_dim=4, hidden_units=())
    plain = FactorizationMachine(schema, embedding_dim=4)
    plain.fields.set_weights(model.fields.get_weights())
    model.output_layer.kernel.assign(np.ones((4, 1)))
    inputs = random_inputs(schema, 5)
    np.testing.assert_allclose(model(inputs), plain(inputs), rtol=1e-5, atol=1e-6)


def test_pairs_are_normalised_alike_with_and_without_candidates():
    model = NeuralFM(tiny_schema(), embedding_dim=4, hidden_units=(), batch_normalization=True)
    inputs = random_inputs(model.schema, 64)
    model.output_layer.kernel.assign(np.ones((4, 1)))
    model.normalization.gamma.assign([1, 2, 3, 4])
    normal = np.asarray(model(inputs, training=True))
    assert normal.std() > 1  # rows have a deviation of 0.01, and the pairs one of 0.0001
    scores = np.asarray(model(inputs))
    several = {name: np.repeat(column[:, None], 3, axis=1) for name, column in inputs.items()}
    several["user_id"] = inputs["user_id"]
    np.testing.assert_allclose(model(several), np.repeat(scores[:, None], 3, axis=1), rtol=1e-5)


def test_dropped_pairs_are_dropped_in_training_alone():
    schema = Schema(context=[Categorical("a", 30), Categorical("b", 30)])
    model = NeuralFM(schema, hidden_units=(), pair_dropout=0.5)
    model.fields.set_weights([np.ones(w.shape) for w in model.fields.get_weights()])
    model.output_layer.kernel.assign(np.ones((64, 1)))
    inputs = {"a": np.full(200, 5), "b": np.full(200, 7)}
    np.testing.assert_allclose(model(inputs), 2 + 64)
    trained = np.asarray(model(inputs, training=True)) - 2
    assert set(np.unique(trained % 2)) == {0.0}  # what is kept is doubled
    assert 40 < trained.mean() < 88 and trained.std() > 2


@pytest.mark.parametrize(
    ("argument", "value"),
    [("embedding_dim", 0), ("hidden_units", (0,)), ("dropout", 1.0), ("pair_dropout", 1.0)],
)
def test_bad_arguments(argument, value):
    number = value[-1] if argument == "hidden_units" else value
    with pytest.raises(ValueError, match=f"NeuralFM: .*{argument} must be.*{number!r}"):
        NeuralFM(tiny_schema(), **{argument: value})
