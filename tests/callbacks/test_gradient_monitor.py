import builtins
import importlib.util
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.callbacks import GradientMonitor
from kerasrec.callbacks.gradient_monitor import fingerprints
from kerasrec.layers import Embedding
from kerasrec.models import MatrixFactorization
from kerasrec.optimizers import SGD, Adagrad, Adam
from kerasrec.schema import Categorical, Schema

ROWS = 6
# Ids 1 (twice), 3 and 4 of 6 rows; labels zero, so that the gradient is 2 * row / 4 for each id.
IDS = np.array([1, 1, 3, 4], np.int32)
TABLE = "table/embeddings"


def table_model(layer=Embedding, rows=ROWS):
    """Rows of ones, pulled to zero: loss = mean over the batch of (mean over the row of row^2)."""
    inputs = keras.Input((), dtype="int32")
    outputs = layer(rows, 2, embeddings_initializer="ones", name="table")(inputs)
    return keras.Model(inputs, outputs)


def fit(model, optimizer, monitor, epochs=1, ids=IDS, steps=1, loss="mse", **options):
    model.compile(optimizer, loss, **options)
    x, y = np.tile(ids, steps), np.zeros((len(ids) * steps, 2), np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(len(ids), drop_remainder=True)
    return model.fit(data, epochs=epochs, verbose=0, shuffle=False, callbacks=[monitor]).history


# The gradient of a row is 1/4 for each of its 2 weights, 1/2 for the row that stands twice.
BEFORE = np.sqrt(2 * (0.5**2 + 0.25**2 + 0.25**2))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_numbers_by_hand(jit_compile):
    monitor = GradientMonitor(interval=1)
    history = fit(table_model(), SGD(0.1, clipnorm=0.5), monitor, jit_compile=jit_compile)
    assert history[f"grad_norm/{TABLE}"][0] == pytest.approx(BEFORE)
    assert history[f"clipped_norm/{TABLE}"][0] == pytest.approx(0.5)
    assert history[f"clipped_share/{TABLE}"] == [1.0]
    # Three touched rows of two ones each: their norm is sqrt(6).
    assert history[f"update_ratio/{TABLE}"][0] == pytest.approx(0.1 * 0.5 / np.sqrt(6))
    assert history[f"untouched_rows/{TABLE}"] == [3]
    assert history["learning_rate"][0] == pytest.approx(0.1)


@pytest.mark.parametrize("optimizer", [Adam(0.1), Adagrad(0.1)])
def test_a_small_table_counts_touched_rows_alone(optimizer):
    monitor = GradientMonitor(interval=1)
    model = table_model()
    history = fit(model, optimizer, monitor)
    moved = model.get_weights()[0] - 1
    expected = np.linalg.norm(moved) / np.sqrt(6)
    assert history[f"update_ratio/{TABLE}"][0] == pytest.approx(expected, rel=1e-5)
    assert history[f"grad_norm/{TABLE}"][0] == pytest.approx(BEFORE)
    assert f"clipped_norm/{TABLE}" not in history


def test_a_stock_optimizer_clips_before_it_sums():
    monitor = GradientMonitor(interval=1)
    optimizer = keras.optimizers.SGD(0.1, clipnorm=0.5)
    history = fit(table_model(keras.layers.Embedding), optimizer, monitor)
    # Of 4 slices with norm 1/4 sqrt(2) each: together sqrt(1/2), which clipping takes to 1/2.
    assert history[f"grad_norm/{TABLE}"][0] == pytest.approx(BEFORE)
    assert history[f"clipped_norm/{TABLE}"][0] == pytest.approx(BEFORE * 0.5 / np.sqrt(0.5))
    assert history[f"clipped_share/{TABLE}"] == [1.0]
    assert history[f"untouched_rows/{TABLE}"] == [3]
    hooks = {"_clip_gradients", "_apply_weight_decay", "_backend_update_step"}
    assert not hooks & set(optimizer.__dict__)


@pytest.mark.parametrize(
    ("clip", "share"),
    [
        ({"clipnorm": 0.5}, 0.5),
        ({"global_clipnorm": 0.5}, 0.5),
        ({"clipvalue": 0.3}, 1.0),
        ({}, None),
    ],
)
def test_share_of_clipped_updates(clip, share):
    # Norms of 0.87, 0.66, 0.47 and 0.3: the first two are beyond 0.5. Of clipvalue only looks
    # know, and only the first update is looked at.
    history = fit(table_model(), SGD(1.0, **clip), GradientMonitor(interval=100), steps=4)
    if share is None:
        assert not [name for name in history if name.startswith("clipped")]
    else:
        assert history[f"clipped_share/{TABLE}"] == [share]


def test_looks_are_at_the_first_update_and_then_every_interval():
    monitor = GradientMonitor(interval=3)
    fit(table_model(), SGD(0.1), monitor, epochs=2, steps=5)
    assert monitor.observations["step"].tolist() == [0, 3, 5, 8]
    assert monitor.epochs["step"].tolist() == [5, 10]
    assert [len(v) for v in monitor.observations.values()] == [4] * 4


def test_steps_per_execution_and_schedules():
    rate = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0)
    one, four = GradientMonitor(interval=2), GradientMonitor(interval=2)
    fit(table_model(), SGD(rate), one, steps=8)
    fit(table_model(), SGD(rate), four, steps=8, steps_per_execution=4)
    np.testing.assert_allclose(one.observations["learning_rate"], 0.1 / np.array([1, 3, 5, 7]))
    for name, numbers in one.observations.items():
        np.testing.assert_allclose(numbers, four.observations[name], rtol=1e-6)


@pytest.mark.parametrize("optimizer", [SGD, keras.optimizers.SGD])
def test_accumulated_gradients_are_one_update(optimizer):
    monitor = GradientMonitor(interval=1)
    history = fit(table_model(), optimizer(0.1, gradient_accumulation_steps=2), monitor, steps=4)
    assert monitor.observations["step"].tolist() == [0, 1]
    assert monitor.observations[f"grad_norm/{TABLE}"][0] == pytest.approx(BEFORE)
    assert history[f"untouched_rows/{TABLE}"] == [3]


def test_loss_scale_falls_out():
    monitor = GradientMonitor(interval=1)
    optimizer = keras.optimizers.LossScaleOptimizer(SGD(0.1, clipnorm=0.5), initial_scale=64.0)
    history = fit(table_model(), optimizer, monitor)
    assert history[f"grad_norm/{TABLE}"][0] == pytest.approx(BEFORE)
    assert history[f"clipped_norm/{TABLE}"][0] == pytest.approx(0.5)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("optimizer", [SGD, keras.optimizers.Adam])
def test_a_gradient_that_is_not_finite_is_recorded(jit_compile, optimizer):
    model = table_model(keras.layers.Embedding)
    model.set_weights([np.where(np.arange(ROWS)[:, None] == 3, np.nan, np.ones((ROWS, 2)))])
    clipping = optimizer(0.1, clipnorm=1.0)
    history = fit(model, clipping, GradientMonitor(interval=1), jit_compile=jit_compile)
    assert np.isnan(history[f"grad_norm/{TABLE}"][0])
    assert np.isnan(history[f"update_ratio/{TABLE}"][0])


def test_updates_that_are_skipped_are_not_seen():
    model = table_model()
    model.set_weights([np.full((ROWS, 2), np.inf)])
    monitor = GradientMonitor(interval=1)
    history = fit(model, SGD(0.1, skip_nonfinite=True), monitor)
    assert np.isnan(history[f"grad_norm/{TABLE}"][0])
    assert len(monitor.observations["step"]) == 0
    assert history[f"untouched_rows/{TABLE}"] == [ROWS]


@pytest.mark.parametrize(
    "optimizer", [SGD, pytest.param(keras.optimizers.SGD, marks=pytest.mark.slow)]
)
def test_two_replicas(optimizer):
    devices = [device.name for device in tf.config.list_logical_devices("CPU")][:2]
    strategy = tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    layer = Embedding if optimizer is SGD else keras.layers.Embedding
    with strategy.scope():
        model = table_model(layer)
        model.compile(optimizer(0.1, clipnorm=0.5), "mse")
    x, y = np.tile(IDS, 4), np.zeros((16, 2), np.float32)
    monitor = GradientMonitor(interval=1)
    history = model.fit(x, y, batch_size=4, verbose=0, shuffle=False, callbacks=[monitor]).history
    assert monitor.observations["step"].tolist() == [0, 1, 2, 3]
    first = monitor.observations[f"grad_norm/{TABLE}"][0]
    if optimizer is SGD:
        assert first == pytest.approx(BEFORE)
    else:  # the first replica has ids 1 and 1 of the batch, and so half of the gradient
        assert first == pytest.approx(np.sqrt(2) * 0.5)
    assert history[f"untouched_rows/{TABLE}"] == [3]


def test_mixed_bfloat16_and_a_zoo_model():
    schema = Schema(user=Categorical("user", 9), item=Categorical("item", 7))
    model = MatrixFactorization(schema, embedding_dim=4, dtype="mixed_bfloat16")
    model.compile(Adam(0.01, clipnorm=1.0), "mse")
    columns = {"user": np.array([2, 3, 4]), "item": np.array([2, 2, 6])}
    history = model.fit(
        columns, np.ones(3), epochs=2, verbose=0, callbacks=[GradientMonitor(interval=1)]
    ).history
    assert history["untouched_rows/user_vectors/embeddings"] == [6, 6]
    assert history["untouched_rows/item_vectors/embeddings"] == [5, 5]
    assert np.isfinite(history["grad_norm/global_bias"]).all()


def test_weights_are_those_of_a_training_without_it():
    plain, watched = table_model(), table_model()
    fit(plain, Adam(0.1, clipnorm=0.1), keras.callbacks.Callback(), epochs=2, steps=4)
    fit(watched, Adam(0.1, clipnorm=0.1), GradientMonitor(interval=2), epochs=2, steps=4)
    np.testing.assert_array_equal(plain.get_weights()[0], watched.get_weights()[0])
    assert [v.path for v in watched.optimizer.variables] == [
        v.path.replace(plain.name, watched.name) for v in watched.optimizer.variables
    ]


def test_afterwards_everything_is_as_before(tmp_path):
    model = table_model()
    monitor = GradientMonitor(interval=1)
    fit(model, SGD(0.1), monitor)
    function = model.train_function
    variables = len(model.variables), len(model.optimizer.variables)
    for _ in range(2):
        model.fit(IDS, np.zeros((4, 2)), verbose=0, callbacks=[monitor, GradientMonitor()])
    assert model.train_function is function
    assert (len(model.variables), len(model.optimizer.variables)) == variables
    assert monitor.observations["step"].tolist() == [2]
    model.save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras")


def test_an_observer_of_ones_own_goes_on():
    class Counting:
        seen = 0

        def before_update(self, variables, summed, clipped):
            self.seen += 1

        def after_update(self, variables, clipped, result):
            assert result is None

    model, observer, optimizer = table_model(), Counting(), SGD(0.1)
    optimizer.watch(observer)
    fit(model, optimizer, GradientMonitor())
    assert observer.seen == 1
    assert optimizer.__dict__["_observer"] is observer


def test_eager_training_and_frozen_variables():
    inputs = keras.Input((), dtype="int32")
    hidden = Embedding(ROWS, 2, name="table")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden))
    model.get_layer("table").trainable = False
    history = fit(model, SGD(0.1), GradientMonitor(interval=1), run_eagerly=True)
    assert {name for name in history if "norm" in name} == {
        "grad_norm/out/kernel",
        "grad_norm/out/bias",
    }


def test_logs_reach_other_callbacks_and_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = table_model()
    model.compile(SGD(0.1, clipnorm=0.5), "mse")
    csv = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    monitor = GradientMonitor(interval=1, only=["table"], log_dir=tmp_path / "events")
    model.fit(IDS, np.zeros((4, 2)), epochs=2, verbose=0, callbacks=[monitor, csv])
    assert f"clipped_share/{TABLE}" in (tmp_path / "log.csv").read_text().splitlines()[0]
    events = EventAccumulator(str(tmp_path / "events"), size_guidance={"tensors": 0}).Reload()
    norms = events.Tensors(f"clipped_norm/{TABLE}")
    assert [event.step for event in norms] == [0, 1]
    assert tf.make_ndarray(norms[0].tensor_proto) == pytest.approx(0.5)
    assert len(events.Tensors(f"untouched_rows/{TABLE}")) == 2


def test_plot(tmp_path):
    monitor = GradientMonitor(interval=1)
    with pytest.raises(ValueError, match="nothing is recorded yet"):
        monitor.plot()
    fit(table_model(), SGD(1.0, clipnorm=0.3), monitor, epochs=3, steps=4)
    figure = monitor.plot(tmp_path / "gradients.png")
    assert (tmp_path / "gradients.png").stat().st_size > 10_000
    drawn = figure.axes[0].lines[1].get_ydata()
    np.testing.assert_allclose(drawn, monitor.observations[f"clipped_norm/{TABLE}"])


def test_plot_of_numbers_that_cannot_be_drawn():
    model = table_model()
    model.set_weights([np.full((ROWS, 2), np.nan)])
    monitor = GradientMonitor(interval=1)
    fit(model, SGD(1.0), monitor)
    monitor.plot()


def test_missing_extra(monkeypatch):
    monitor = GradientMonitor()
    fit(table_model(), SGD(0.1), monitor)
    original = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(ImportError, match=r'pip install "kerasrec\[plots\]"'):
        monitor.plot()
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "kerasrec\[plots\]"'):
        GradientMonitor(log_dir="somewhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, "interval must be an integer of at least 1; received 0"),
        ({"interval": True}, "interval must be"),
        ({"interval": 2.0}, "interval must be"),
        ({"only": "table"}, "only must be a list of parts"),
        ({"only": [3]}, "only must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientMonitor(**arguments)


def test_only_must_fit_a_variable():
    with pytest.raises(ValueError, match=r"no trainable variable fits only=\['users'\]"):
        fit(table_model(), SGD(0.1), GradientMonitor(only=["users"]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 1), (5, 3), (5, 2, 2)])
def test_fingerprints_change_with_their_row_alone(dtype, shape):
    table = tf.Variable(tf.cast(np.random.default_rng(0).normal(size=shape), dtype))
    ids = np.arange(5, dtype=np.int32)
    before = fingerprints(table, ids)
    for place in itertools.product(*(range(n) for n in shape[1:])):
        change = np.zeros(shape)
        change[(2, *place)] = 2.0**-3
        table.assign_add(tf.cast(change, dtype))
        assert (fingerprints(table, ids) == before).tolist() == [True, True, False, True, True]
        before = fingerprints(table, ids)
    assert fingerprints(table, ids[:0]).shape == (0,)
