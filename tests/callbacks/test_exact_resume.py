import copy
import itertools
import json
import os

import keras
import numpy as np
import pytest

from kerasrec import data, models, optimizers
from kerasrec.callbacks import ExactResume, GradientMonitor, TrainingDiagnostics
from kerasrec.callbacks.exact_resume import save_arrays
from kerasrec.schema import Categorical, Schema

SCHEMA = Schema(user=Categorical("user", 12), item=Categorical("item", 12))


ORDERS = list(itertools.permutations(["ExactResume", "GradientMonitor", "TrainingDiagnostics"]))


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Ends the process, as far as a callback can, at some batch of all epochs together."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_train_batch_end(self, batch, logs=None):
        self.at -= 1
        if self.at == 0:
            raise Killed


def rows():
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.choice(100, 48, replace=False), 10)
    return {"user": (users + 2).astype("int32"), "item": (items + 2).astype("int32")}


class Steps(keras.callbacks.Callback):
    """The steps that a callback sees: epoch, number and whether there are logs."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.begun = batch

    def on_train_batch_end(self, batch, logs=None):
        assert self.begun == batch
        self.seen.append((self.epoch, batch, bool(logs)))


def train(path, kill=None, epochs=4, keep=False, save_freq="epoch", others=(), **options):
    """A new model and new batches, as a new process has.

    `others`: callbacks in an order in which "ExactResume" is the one of this training.
    """
    keras.utils.set_random_seed(0)
    model = models.EmbeddingMLP(SCHEMA, embedding_dim=4, hidden_units=(6,), dropout=0.3)
    rate = optimizers.inverse_time_decay(
        0.1, examples=48, batch_size=16, epochs=4, decay_rate=2.0, verbose=0
    )
    model.compile(
        optimizers.Adam(rate, clipnorm=0.1),
        keras.losses.BinaryCrossentropy(from_logits=True),
        **options,
    )
    batches = data.with_negatives(rows(), SCHEMA, batch_size=32, negatives=1)
    resume = ExactResume(path, batches, keep=keep, save_freq=save_freq)
    watch = [resume if other == "ExactResume" else other for other in others] or [resume]
    watch += [] if kill is None else [Kill(kill)]
    fit = {"epochs": epochs, "verbose": 0, "shuffle": False, "callbacks": watch}
    try:
        epochs = model.fit(batches, **fit).epoch
    except Killed:
        return None
    return model, epochs, resume.history


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupts: three batches in each of four epochs."""
    return train(tmp_path_factory.mktemp("whole") / "training.npz")


@pytest.mark.parametrize("kills", [[1], [4], [6, 2, 5], [11]], ids=str)
def test_ends_with_the_weights_of_an_uninterrupted_training(kills, whole, tmp_path):
    path = tmp_path / "folder" / "training.npz"
    for kill in kills:
        assert train(path, kill) is None
    model, epochs, history = train(path)
    expected, all_epochs, whole_history = whole
    assert len(all_epochs) == 4 and epochs == all_epochs[-len(epochs) :]
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert history == whole_history
    assert not list(path.parent.iterdir()), "the file is removed at the end"


@pytest.mark.slow
@pytest.mark.parametrize("save_freq", [1, 2])
@pytest.mark.parametrize("kills", [[2], [5, 2], [3, 9], [12]], ids=str)
def test_goes_on_in_the_middle_of_an_epoch(save_freq, kills, whole, tmp_path):
    """Killed at a step, the training repeats at most `save_freq` - 1 steps."""
    path = tmp_path / "training.npz"
    for kill in kills:
        assert train(path, kill, save_freq=save_freq) is None
    if len(kills) == 1:
        with np.load(path) as held:
            note = json.loads(str(held["history"]))
        # The file of a step is written before `Kill`, which comes after `ExactResume`, ends it.
        assert kills[0] - (3 * note["epochs"] + note["step"]) in range(save_freq)
    model, _, history = train(path, save_freq=save_freq)
    for ours, theirs in zip(model.get_weights(), whole[0].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert history == whole[2], "the mean loss of the broken epoch too"


def test_several_steps_at_once_go_on_too(tmp_path):
    path = tmp_path / "training.npz"
    options = {"save_freq": 1, "steps_per_execution": 2, "metrics": ["binary_accuracy"]}
    expected = train(tmp_path / "whole.npz", **options)
    assert train(path, 1, **options) is None
    with pytest.raises(ValueError, match="where steps_per_execution=3 does not stop. Compile as"):
        train(path, save_freq=1, steps_per_execution=3)
    assert train(path, 1, **options) is None  # after the second execution, of one step
    with np.load(path) as held:
        assert json.loads(str(held["history"]))["step"] == 3
    model, _, history = train(path, **options)
    for ours, theirs in zip(model.get_weights(), expected[0].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert history == expected[2]


def test_other_metrics_are_refused(tmp_path):
    path = tmp_path / "training.npz"
    assert train(path, 2, save_freq=1) is None
    with pytest.raises(ValueError, match="after step 2 of an epoch by a model with other"):
        train(path, save_freq=1, metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)])


def test_two_replicas_go_on_too(tmp_path):
    import tensorflow as tf

    def train_replicated(path, kill=None):
        strategy = tf.distribute.MirroredStrategy(
            ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
        )
        with strategy.scope():
            return train(path, kill, save_freq=2)

    path = tmp_path / "training.npz"
    expected = train_replicated(path)[0].get_weights()
    assert train_replicated(path, 8) is None and path.is_file()
    model, epochs, _ = train_replicated(path)
    assert epochs == [2, 3]
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_a_kept_file_lets_more_epochs_follow(whole, tmp_path):
    path = tmp_path / "training.npz"
    assert train(path, epochs=2, keep=True)[1] == [0, 1]
    model, epochs, _ = train(path)
    assert epochs == [2, 3]
    np.testing.assert_array_equal(model.get_weights()[0], whole[0].get_weights()[0])


def test_refuses_files_of_others(tmp_path):
    path = tmp_path / "training.npz"
    path.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(ValueError, match="not a file of this callback, or damaged"):
        train(path)
    path.unlink()
    train(path, epochs=1, keep=True)
    model = models.MatrixFactorization(SCHEMA, embedding_dim=4)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    batches = data.with_negatives(rows(), SCHEMA, batch_size=32, negatives=1)
    with pytest.raises(ValueError, match="belongs to another model or optimizer: .* not in both"):
        model.fit(batches, verbose=0, shuffle=False, callbacks=[ExactResume(path, batches)])


def test_refuses_arguments():
    with pytest.raises(ValueError, match=r"must end in '\.npz'; received 'training'"):
        ExactResume("training")
    batches = data.with_negatives(rows(), SCHEMA, batch_size=32, negatives=1)
    with pytest.raises(ValueError, match="integer of at least 1; received 0. It counts steps"):
        ExactResume("training.npz", save_freq=0)
    with pytest.raises(ValueError, match="before map, cache or take"):
        ExactResume("training.npz", batches.cache())


def test_a_full_disk_leaves_the_epoch_before(tmp_path, monkeypatch):
    path = tmp_path / "training.npz"
    train(path, epochs=1, keep=True)
    before = path.read_bytes()

    def no_space(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kerasrec._files.os.fsync", no_space)
    with pytest.raises(ValueError, match="could not be written: No space left on device"):
        train(path, epochs=2)
    assert path.read_bytes() == before


def all_three(order):
    """The callbacks in that order, and one that writes down the steps."""
    steps, monitor = Steps(), GradientMonitor(interval=1)
    named = {
        "ExactResume": "ExactResume",
        "GradientMonitor": monitor,
        "TrainingDiagnostics": TrainingDiagnostics(batch_path=None),
    }
    return [*(named[name] for name in order), steps], steps, monitor


@pytest.mark.parametrize(
    "trial",
    [pytest.param(n, marks=pytest.mark.slow if n < 2 else pytest.mark.nightly) for n in range(10)],
)
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(order))
def test_in_every_order_with_others_killed_at_random_steps(order, trial, whole, tmp_path):
    """Weights, number of updates, history and steps seen are those of the unbroken training."""
    rng = np.random.default_rng([ORDERS.index(order), trial])
    path, seen = tmp_path / "training.npz", []
    for kill in [*rng.integers(1, 7, rng.integers(1, 4)), None]:
        others, steps, monitor = all_three(order)
        done = train(path, kill and int(kill), save_freq=1, others=others)
        seen += steps.seen
        if done is not None:
            break
    # `GradientMonitor` keeps the looks of the epochs whose end it sees.
    looked_at = monitor.observations["step"]
    np.testing.assert_array_equal(looked_at, np.arange(12)[12 - len(looked_at) :])
    model, _, history = done
    assert seen == [(epoch, step, True) for epoch in range(4) for step in range(3)]
    assert int(model.optimizer.iterations) == 12
    for ours, theirs in zip(model.get_weights(), whole[0].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert {name: history[name] for name in whole[2]} == whole[2]


@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[-1]], ids=lambda order: "-".join(order))
def test_others_see_the_steps_that_are_left(order, whole, tmp_path):
    path = tmp_path / "training.npz"
    assert train(path, 5, save_freq=1) is None
    others, steps, monitor = all_three(order)
    model, _, _ = train(path, save_freq=1, others=others)
    assert steps.seen == [(1, 2, True)] + [(e, s, True) for e in (2, 3) for s in range(3)]
    assert monitor.observations["step"].tolist() == list(range(5, 12))
    for ours, theirs in zip(model.get_weights(), whole[0].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[-1]], ids=lambda order: "-".join(order))
def test_a_model_of_keras_goes_on_beside_others(order, tmp_path):
    """Its loop is Keras' own: callbacks see the steps that are left out, without logs."""
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")

    def fit(path, kill=None):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((3,)), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
        others, steps, _ = all_three(order)
        resume = ExactResume(path, save_freq=1)
        callbacks = [resume if other == "ExactResume" else other for other in others]
        callbacks += [] if kill is None else [Kill(kill)]
        options = {"epochs": 3, "verbose": 0, "shuffle": False, "callbacks": callbacks}
        try:
            model.fit(x, x[:, :1], 4, **options)
        except Killed:
            return None
        return model, steps.seen, resume.history

    expected, _, history = fit(tmp_path / "whole.npz")
    path = tmp_path / "training.npz"
    assert fit(path, 9) is None
    model, seen, resumed = fit(path)
    assert seen == [(1, s, s >= 2) for s in range(6)] + [(2, s, True) for s in range(6)]
    assert int(model.optimizer.iterations) == 18
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed["loss"] == history["loss"]


def test_a_broken_training_leaves_the_next_fit_alone(tmp_path):
    """Also the number of its first epoch, which Keras keeps in the model."""
    path = tmp_path / "training.npz"
    assert train(path, 8, save_freq=1) is None
    keras.utils.set_random_seed(0)
    x = np.ones((4, 1), "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    own = tmp_path / "own.npz"
    model.fit(x, x, epochs=2, verbose=0, callbacks=[ExactResume(own, keep=True)])
    with pytest.raises(Killed):
        model.fit(x, x, epochs=9, verbose=0, callbacks=[ExactResume(own, keep=True), Kill(2)])
    assert model.fit(x, x, epochs=3, verbose=0).epoch == [0, 1, 2]


def test_can_be_copied_with_its_batches(whole, tmp_path):
    """As tuners do, which copy the callbacks for each trial."""
    batches = data.with_negatives(rows(), SCHEMA, batch_size=32, negatives=1)
    resume = ExactResume(tmp_path / "training.npz", batches, save_freq=2)
    copied, nested = copy.deepcopy(resume), copy.deepcopy([resume, resume])
    assert copied is not resume and copied.batches is batches and nested[0] is nested[1]
    assert (copied.path, copied.save_freq) == (resume.path, 2)
    copied.history["loss"] = [1.0]
    assert not resume.history


def test_arrays_are_saved_whole_or_not_at_all(tmp_path):
    class Broken:
        dtype = np.dtype("float32")

        def __array__(self, *args, **kwargs):
            raise OSError("full")

    save_arrays(tmp_path / "a.npz", {"x": np.array([b"one", b"two"], dtype=object)})
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["x"], ["one", "two"])
    with pytest.raises(OSError, match="full"):
        save_arrays(tmp_path / "a.npz", {"x": Broken()})
    assert os.listdir(tmp_path) == ["a.npz"]
    assert "one" in np.load(tmp_path / "a.npz")["x"]
