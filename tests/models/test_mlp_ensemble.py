import keras
import numpy as np
import pytest

from kerasrec.models import FeatureMLP, MLPEnsemble
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "a table": ModelCase(
        MLPEnsemble,
        schema=tiny_schema(sides=False),
        num_params=3 * ((5 + 9) * 4 + (4 + 1 + 4 + 2 + 3 + 1) * 16 + (16 + 1)),
        kwargs={"embedding_dim": 4, "hidden_units": (16,), "members": 3, "embedding_l2": 1e-4},
    ),
    "ids": ModelCase(
        MLPEnsemble,
        num_params=2 * ((USERS + ITEMS) * 8 + (16 + 1) * 12 + (12 + 1)),
        kwargs={"embedding_dim": 8, "hidden_units": (12,), "members": 2},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("weights", [None, np.float32([1, 2, 0, 1, 3])])
def test_members_are_trained_as_alone_and_the_score_is_their_mean(weights):
    schema = Schema(context=[Categorical("country", 5), Numeric("age")], label="sold")
    arguments = {"embedding_dim": 2, "hidden_units": (3,), "embedding_l2": 0.3}
    both = MLPEnsemble(schema, members=2, **arguments)
    inputs = {"country": np.array([2, 3, 2, 4, 1]), "age": np.float32([0.5, -1.0, np.nan, 2, 0])}
    labels = np.float32([1, 0, 0, 1, 1])

    def member(number):
        one = FeatureMLP(schema, **arguments)
        parts = (both.features[number], both.mlps[number], both.output_layers[number])
        one.set_weights([weight.numpy() for part in parts for weight in part.weights])
        return one

    def trained(model, rate):
        model.compile(keras.optimizers.SGD(rate), keras.losses.BinaryCrossentropy(from_logits=True))
        found = model.fit(inputs, labels, sample_weight=weights, batch_size=5, verbose=0)
        return found.history["loss"][0]

    ones = [member(number) for number in range(2)]
    logits = [np.asarray(one(inputs)) for one in ones]
    assert not np.allclose(*logits)
    np.testing.assert_allclose(both(inputs), np.mean(logits, axis=0), rtol=1e-5)
    # The loss is the mean of theirs, so that twice the rate moves each as far as alone.
    loss = trained(both, 1.0)
    alone = [trained(one, 0.5) for one in ones]
    assert loss == pytest.approx(np.mean(alone), rel=1e-5)
    for number, one in enumerate(ones):
        moved = np.asarray(member(number)(inputs))
        np.testing.assert_allclose(moved, one(inputs), rtol=1e-4, atol=1e-6)
        assert np.abs(moved - logits[number]).max() > 1e-3
    # In evaluation the loss is that of the mean logit.
    mean = np.asarray(both(inputs), np.float64)
    losses = np.log1p(np.exp(-mean)) * labels + np.log1p(np.exp(mean)) * (1 - labels)
    weight = np.ones(5) if weights is None else weights
    penalty = sum(float(np.asarray(one)) for one in both.losses)
    found = both.evaluate(inputs, labels, sample_weight=weights, batch_size=5, verbose=0)
    assert found == pytest.approx((losses * weight).sum() / 5 + penalty, rel=1e-4)


def test_a_call_in_training_leaves_nothing_behind():
    schema = Schema(context=[Numeric("age")], label="sold")
    model = MLPEnsemble(schema, hidden_units=(3,), members=2)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = {"age": np.float32([0.5, 1.5, 2.5])}
    model(inputs, training=True)  # of other rows than those below
    found = model.evaluate({"age": np.float32([1, 2])}, np.float32([0, 1]), verbose=0)
    assert np.isfinite(found)
    history = model.fit({"age": np.float32([1, 2])}, np.float32([0, 1]), verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_bad_input():
    with pytest.raises(ValueError, match="MLPEnsemble: members must be .* 1"):
        MLPEnsemble(Schema(context=[Numeric("age")]), members=0)
