"""What needs no second process; tests/distribute trains on two."""

import types

import numpy as np
import pytest
import tensorflow as tf

from kerasrec._keras import batch_spec
from kerasrec.data.streams.sharding import share
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


def test_shapes_of_a_batch_are_known_before_it_is_read():
    read = []

    def rows():
        read.append(1)
        yield {"item": np.arange(4, dtype="int32")}, np.ones(4, "float32")

    spec = {"item": tf.TensorSpec((None,), tf.int32)}, tf.TensorSpec((None,), tf.float32)
    dataset = tf.data.Dataset.from_generator(rows, output_signature=spec)
    for strategy in (
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
        tf.distribute.get_strategy(),
    ):
        shared = strategy.experimental_distribute_dataset(dataset)
        assert batch_spec(shared) == spec
    assert not read


def part_of(rows, batch_size, shard):
    part = share("test", rows, batch_size, shard, False)
    own = np.arange(part.own_rows) + part.index * part.own_rows
    dataset = tf.data.Dataset.from_tensor_slices(own).batch(part.own_batch)
    dataset.part = part
    return dataset


def test_a_part_is_shared_out_among_the_replicas_of_its_worker():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    shared = multi_worker.from_part(strategy, part_of(20, 8, (0, 1)))
    assert shared.cardinality == 3
    found = [[v.numpy().tolist() for v in batch.values] for batch in shared]
    assert found[:2] == [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 10, 11], [12, 13, 14, 15]]]
    assert sorted(sum(found[2], [])) == [16, 17, 18, 19] and len(found) == 3
    with pytest.raises(ValueError, match="the 9 rows of a step .* 2 replicas"):
        multi_worker.from_part(strategy, part_of(20, 9, (0, 1)))


def pretend(monkeypatch, jobs, kind, position):
    """A strategy that spans workers, as far as its resolver says."""
    monkeypatch.setattr(multi_worker, "spans_workers", lambda strategy: True)
    spec = types.SimpleNamespace(as_dict=lambda: jobs)
    resolver = types.SimpleNamespace(cluster_spec=lambda: spec, task_type=kind, task_id=position)
    return types.SimpleNamespace(cluster_resolver=resolver)


def test_the_chief_is_the_first_worker(monkeypatch):
    jobs = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    assert multi_worker.place_of(pretend(monkeypatch, jobs, "chief", 0)) == (0, 3)
    assert multi_worker.place_of(pretend(monkeypatch, jobs, "worker", 1)) == (2, 3)
    assert multi_worker.place_of(pretend(monkeypatch, {"worker": ["b:1"]}, "worker", 0)) == (0, 1)


def test_a_part_of_another_worker_is_refused(monkeypatch):
    strategy = pretend(monkeypatch, {"worker": ["b:1", "c:1"]}, "worker", 1)
    with pytest.raises(ValueError, match="of worker 0 of 2; this is worker 1 of 2. Pass shard="):
        multi_worker.own_part(strategy, part_of(20, 8, (0, 2)))
    whole = tf.data.Dataset.range(3)
    assert multi_worker.own_part(strategy, whole) is whole
