"""What needs no second process; tests/distribute trains on two."""

import numpy as np
import tensorflow as tf

from kerasrec.training import multi_worker


def test_one_process_is_left_alone():
    strategy = tf.distribute.get_strategy()
    results = {"loss": tf.constant(2.0)}
    assert not multi_worker.spans_workers(strategy)
    assert not multi_worker.spans_workers(None)
    assert multi_worker.with_an_axis(results) is results


def test_numbers_get_an_axis_inside_a_step_on_several_workers(monkeypatch):
    monkeypatch.setattr(multi_worker, "spans_workers", lambda strategy: True)
    assert multi_worker.with_an_axis({"loss": tf.constant(2.0)})["loss"].shape == (1,)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():  # not in a step
        assert multi_worker.with_an_axis({"loss": tf.constant(2.0)})["loss"].shape == ()


def test_first_local_part_of_a_batch():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    rows = tf.data.Dataset.from_tensor_slices(({"item": np.arange(4)}, np.ones(4))).batch(4)
    batch = next(iter(strategy.experimental_distribute_dataset(rows)))
    features, label = multi_worker.first_local(strategy, batch)
    assert features["item"].numpy().tolist() == [0, 1] and label.shape == (2,)
