"""The losses of NextItemTrainer by other means, and that a model learns a chain of items."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import next_items
from kerasrec.models import GRU4Rec, MatrixFactorization, SASRec
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.testing import tiny_schema
from kerasrec.training import NextItemTrainer

HISTORY = IdSequence("history", of="item", max_length=6)
SCHEMA = Schema(user=[Categorical("user", 42), HISTORY], item=Categorical("item", 14))


def chains(steps=5):
    """Forty users, each at another place of the circle 2, 3, ..., 13, 2."""
    users = np.repeat(np.arange(2, 42), steps).astype("int32")
    items = (np.arange(steps) + np.arange(40)[:, None]) % 12 + 2
    return {"user": users, "item": items.ravel().astype("int32")}


def data(**options):
    return next_items(chains(), SCHEMA, batch_size=8, time=None, **options)


@pytest.mark.parametrize("model", [SASRec, GRU4Rec])
@pytest.mark.parametrize(
    "loss",
    [
        {"loss": "softmax"},
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                {"loss": "sampled_softmax"},
                {"loss": "bce"},
                {"loss": "gbce"},
                {"loss": "gbce", "shared": False},
            )
        ),
    ],
    ids=str,
)
def test_learns_the_next_item(model, loss):
    keras.utils.set_random_seed(0)
    model = model(SCHEMA, embedding_dim=16, dropout=0.0)
    trainer = NextItemTrainer(model, negatives=6, **loss)
    trainer.compile(keras.optimizers.Adam(0.02))
    trainer.fit(data(), epochs=60, verbose=0)
    queries = model.query_embedding({"history": np.array([[4, 5], [13, 0], [3, 4]])})
    items = model.item_embedding({"item": np.arange(2, 14)})
    best = np.argmax(np.asarray(queries) @ np.asarray(items).T, axis=1) + 2
    assert best.tolist() == [6, 2, 5]


def test_softmax_is_the_mean_cross_entropy_over_steps_with_a_target():
    model = SASRec(SCHEMA, embedding_dim=8, dropout=0.0, stddev=0.5)
    trainer = NextItemTrainer(model)
    trainer.compile("sgd")
    features, target = next(iter(data(targets="last")))
    features = {name: value.numpy() for name, value in features.items()}
    target = target.numpy()
    found = trainer.evaluate(features, target, batch_size=len(target), verbose=0)
    states = np.asarray(model.states(features["history"], features["position"]))
    items = np.asarray(model.item_embedding({"item": np.arange(2, 14)}))
    losses = []
    for state, right in zip(states[target > 0], target[target > 0], strict=True):
        logits = items @ state
        losses.append(np.log(np.exp(logits).sum()) - logits[right - 2])
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_packed_and_plain_rows_have_one_loss_and_gradient():
    found = []
    for together in (True, False):
        keras.utils.set_random_seed(0)
        trainer = NextItemTrainer(SASRec(SCHEMA, embedding_dim=8, dropout=0.0))
        trainer.compile(keras.optimizers.SGD(0.1))
        rows = next_items(
            chains(4), SCHEMA, batch_size=40, time=None, shuffle=False, pack_rows=together
        )
        trainer.fit(rows, epochs=2, verbose=0)
        found.append(trainer.model.get_weights())
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_two_replicas_follow_one_device():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(
        devices[:2], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    found = []
    for scope in (tf.distribute.get_strategy(), strategy):
        keras.utils.set_random_seed(0)
        with scope.scope():
            trainer = NextItemTrainer(SASRec(SCHEMA, embedding_dim=8, dropout=0.0))
            trainer.compile(keras.optimizers.SGD(0.1))
        rows = data(shuffle=False, targets="last")
        history = trainer.fit(rows, epochs=2, verbose=0).history["loss"]
        found.append([*trainer.model.get_weights(), np.array(history)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_config():
    trainer = NextItemTrainer(
        SASRec(SCHEMA, embedding_dim=8), loss="gbce", negatives=7, calibration=0.5
    )
    again = NextItemTrainer.from_config(trainer.get_config())
    assert again.get_config() == trainer.get_config()


def test_features_that_a_model_does_not_read_are_no_obstacle():
    trainer = NextItemTrainer(SASRec(tiny_schema(features=True), embedding_dim=8))
    assert [feature.name for feature in trainer.model.schema.item] == ["item_id"]


def test_bad_input():
    model = SASRec(SCHEMA, embedding_dim=8)
    with pytest.raises(ValueError, match="states.*received MatrixFactorization"):
        NextItemTrainer(MatrixFactorization(tiny_schema()))
    with pytest.raises(ValueError, match="loss must be one of .* received 'hinge'"):
        NextItemTrainer(model, loss="hinge")
    with pytest.raises(ValueError, match="negatives .* received 0"):
        NextItemTrainer(model, negatives=0)
    with pytest.raises(ValueError, match="calibration .* received 2"):
        NextItemTrainer(model, calibration=2)
    trainer = NextItemTrainer(model)
    trainer.compile("sgd")
    features, target = next(iter(data()))
    with pytest.raises(ValueError, match="sample weights"):
        trainer.fit(features, target, sample_weight=np.ones(len(target)), verbose=0)
