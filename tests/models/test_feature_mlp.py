import keras
import numpy as np
import pytest

from kerasrec.models import FeatureMLP
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        FeatureMLP,
        num_params=(USERS + ITEMS) * 8 + (16 + 1) * 12 + (12 + 1) * 7 + (7 + 1),
        kwargs={"embedding_dim": 8, "hidden_units": (12, 7), "l1": 1e-4, "l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        FeatureMLP,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5) * 8  # user, item, genres, device; history reads the item table
            + (8 + 1 + 8 + 8 + 8 + 8 + 2 + 1) * 16  # user age device history item genres picture
            + (16 + 1)
        ),
        kwargs={"embedding_dim": 8, "hidden_units": (16,), "embedding_l2": 1e-4},
    ),
    "a table": ModelCase(
        FeatureMLP,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9) * 4 + (4 + 1 + 4 + 2 + 3 + 1) * 16 + (16 + 1),
        kwargs={"embedding_dim": 4, "hidden_units": (16,), "activation": "gelu"},
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


def test_ten_numbers_sixteen_units_and_a_logit():
    schema = Schema(context=[Numeric(f"feature{index}") for index in range(1, 11)], label="target")
    model = FeatureMLP(schema, hidden_units=[16])
    assert model.count_params() == 10 * 16 + 16 + 16 + 1
    assert [tuple(weight.shape) for weight in model.weights] == [(10, 16), (16,), (16, 1), (1,)]
    inputs = random_inputs(schema, 4)
    x = np.stack([inputs[f"feature{index}"] for index in range(1, 11)], axis=1)
    kernel, bias, w, b = model.get_weights()
    expected = (np.maximum(x @ kernel + bias, 0) @ w + b)[:, 0]
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-5)


def test_score_is_the_equation():
    schema = Schema(context=[Categorical("country", 5), Numeric("age", mean=40.0, deviation=10.0)])
    model = FeatureMLP(schema, embedding_dim=1, hidden_units=(2,))
    model.features.tables["country"].embeddings.assign(np.full((5, 1), 3.0))
    model.mlp.hidden[0].kernel.assign([[1.0, 2.0], [1.0, -1.0]])  # rows: country, age
    model.mlp.hidden[0].bias.assign([-1.5, 0.0])
    model.output_layer.kernel.assign([[7.0], [2.0]])
    model.output_layer.bias.assign([10.0])
    # Scaled ages are -2 and, where it is missing, 0.
    inputs = {"country": np.array([2, 2]), "age": np.array([20.0, np.nan])}
    np.testing.assert_allclose(
        model(inputs),
        [7 * max(3 - 2 - 1.5, 0) + 2 * (6 + 2) + 10, 7 * (3 - 1.5) + 2 * 6 + 10],
        rtol=1e-6,
    )


def test_without_hidden_layers_it_is_linear():
    model = FeatureMLP(tiny_schema(), embedding_dim=4, hidden_units=())
    assert model.count_params() == (USERS + ITEMS) * 4 + 8 + 1


def test_penalties_are_those_of_the_weights_and_of_the_looked_up_rows():
    schema = Schema(context=Categorical("country", 5))
    options = {"l1": 0.1, "l2": 0.01, "embedding_l2": 1.0}
    model = FeatureMLP(schema, embedding_dim=1, hidden_units=(1,), **options)
    for weight, value in zip(model.weights, (3.0, -2.0, 50.0, 4.0, 50.0), strict=True):
        weight.assign(np.full(weight.shape, value))
    model({"country": np.array([2, 3])})
    assert float(sum(model.losses)) == pytest.approx(0.1 * (2 + 4) + 0.01 * (4 + 16) + 9.0)


def test_dropout_and_batch_normalisation_act_in_training_only():
    schema = tiny_schema(features=True)
    for options in ({"dropout": 0.5}, {"batch_normalization": True}):
        model = FeatureMLP(schema, **options)
        inputs = random_inputs(schema, 32, candidates=3)
        calm = [np.asarray(model(inputs)) for _ in range(2)]
        assert np.array_equal(*calm)
        assert not np.allclose(model(inputs, training=True), calm[0], atol=1e-4)


def test_it_trains_with_batch_normalisation():
    model = FeatureMLP(tiny_schema(sides=False), hidden_units=(8,), batch_normalization=True)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = random_inputs(tiny_schema(sides=False), 64)
    labels = (np.nan_to_num(inputs["age"]) > 40).astype("float32")
    losses = model.fit(inputs, labels, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("embedding_dim", 0, "an integer of at least 1"),
        ("hidden_units", (8, 0), "an integer of at least 1"),
        ("activation", "rleu", "one of 'elu', 'gelu'"),
        ("dropout", 1.5, "a number from 0 to less than 1"),
        ("batch_normalization", 1, "True or False"),
        ("l1", -0.1, "a finite number of at least 0"),
        ("l2", "much", "a finite number of at least 0"),
        ("embedding_l2", -0.1, "a finite number of at least 0"),
    ],
)
def test_bad_arguments(argument, value, expected):
    number = value[-1] if argument == "hidden_units" else value
    with pytest.raises(ValueError, match=f"FeatureMLP: .*{argument}.*{expected}.*{number!r}"):
        FeatureMLP(tiny_schema(), **{argument: value})


def test_a_missing_column_is_named():
    model = FeatureMLP(Schema(context=[Numeric("height"), Numeric("width")], label="sold"))
    with pytest.raises(ValueError, match=r"FeatureMLP: missing input \['width'\].*Add the column"):
        model({"height": np.array([1.0])})
