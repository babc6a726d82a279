import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec import data, models, optimizers
from kerasrec.distribute import batches, strategy
from kerasrec.schema import Categorical, Schema


def test_auto_on_one_device_changes_nothing(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("TPU_NAME", raising=False)
    assert strategy() is tf.distribute.get_strategy()


def test_cpu_takes_the_logical_devices():
    made = strategy("cpu", replicas=2)
    assert made.num_replicas_in_sync == 2
    shared = batches(made, 64)
    assert (shared.replicas, shared.workers, shared.replica_batch) == (2, 1, 32)
    assert str(shared) == "64 rows a step: 32 for each of 2 replicas on 1 worker"


def test_a_batch_must_be_cut_into_equal_parts():
    with pytest.raises(ValueError, match="65 rows .* 2 replicas. Take 64 or 66"):
        batches(strategy("cpu"), 65)
    with pytest.raises(ValueError, match="Take 2 or 2"):
        batches(strategy("cpu"), 1)
    with pytest.raises(ValueError, match="integer of at least 1; received 0"):
        batches(tf.distribute.get_strategy(), 0)


def config(index, count=2):
    workers = [f"localhost:{number}" for number in range(count)]
    return {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpu",), "kind must be one of .*'gpu'"),
        (("mirrored",), "needs 1 GPU.*sees 0"),
        (("cpu",), None),
        (("multiworker",), "workers=.*or the environment variable TF_CONFIG"),
        (("auto", {"replicas": 2}), "replicas is for 'cpu' and 'mirrored'"),
        (("cpu", {"replicas": 1}), "at least 2; received 1"),
        (("cpu", {"replicas": 3}), "already running.*3 are needed"),
        (("cpu", {"tpu": "local"}), "tpu is for 'tpu'"),
        (("multiworker", {"workers": "a:1"}), "list of different 'host:port'.*'a:1'"),
        (("multiworker", {"workers": ["a"], "index": 0}), "list of different 'host:port'"),
        (("multiworker", {"workers": ["a:1", "a:1"], "index": 0}), "different"),
        (("multiworker", {"workers": ["a:1", "b:1"]}), "0 to 1; received None"),
        (("multiworker", {"workers": ["a:1", "b:1"], "index": 2}), "0 to 1; received 2"),
        (("multiworker", {"workers": ["a:1", "b:1"], "index": 1}), "already running"),
    ],
)
def test_says_what_is_missing(arguments, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    kind, options = arguments[0], arguments[1] if len(arguments) > 1 else {}
    tf.constant(1.0) + 1.0  # TensorFlow runs
    if message is None:
        assert strategy(kind, **options).num_replicas_in_sync == 2
        return
    with pytest.raises(ValueError, match=f"(?s)^strategy: .*{message}"):
        strategy(kind, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        (json.dumps({"cluster": {}}), "must be JSON"),
        (json.dumps(config(2)), "the index 2 among 2"),
    ],
)
def test_a_wrong_tf_config_is_named(text, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    for kind in ("auto", "multiworker"):
        with pytest.raises(ValueError, match=message):
            strategy(kind)


def test_auto_sees_several_workers(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(config(0)))
    tf.constant(1.0) + 1.0
    with pytest.raises(ValueError, match="already running"):
        strategy()


@pytest.mark.slow
def test_replicas_train_on_the_rows_that_one_device_would_have():
    """The order and the drawn negatives of each pass, too; the last batch is a smaller one."""
    schema = Schema(user=Categorical("user", 30), item=Categorical("item", 40))
    rng = np.random.default_rng(0)
    pairs = np.stack(np.divmod(rng.choice(28 * 38, 88, replace=False), 38))
    rows = dict(zip(("user", "item"), (pairs + 2).astype("int32"), strict=True))
    found = []
    for place in (tf.distribute.get_strategy(), strategy("cpu")):
        keras.utils.set_random_seed(0)
        train = data.with_negatives(rows, schema, batch_size=64, negatives=3)
        valid = data.with_negatives(rows, schema, batch_size=64, negatives=3, seed=1)
        with place.scope():
            model = models.MatrixFactorization(schema, embedding_dim=4)
            loss = keras.losses.BinaryCrossentropy(from_logits=True)
            model.compile(optimizers.SGD(2.0, clipnorm=0.1), loss)
        options = {"epochs": 3, "verbose": 0}
        history = model.fit(train, validation_data=valid, **options).history
        found.append((history, model.get_weights()))
    (one, its_weights), (two, their_weights) = found
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=0, atol=1e-5, err_msg=name)
    for ours, theirs in zip(its_weights, their_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
