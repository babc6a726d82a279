import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.optimizers import ClippyAdagrad

# Settings that meet every branch of the formula; the gradients are far too long for all of them.
CASES = {
    "default": {"learning_rate": 0.3},
    "paper": {"learning_rate": 1.0, "initial_accumulator_value": 0.0, "epsilon": 1e-3},
    "accumulator_bound": {"learning_rate": 0.5, "accumulator_relative_threshold": 0.05},
    "absolute_bound": {"learning_rate": 0.5, "absolute_threshold": 0.02},
    "clipped_accumulator": {"learning_rate": 0.5, "clip_accumulator_update": True},
    "standard_accumulator": {"learning_rate": 0.5, "use_standard_accumulator_update": True},
    "unbounded": {"learning_rate": 0.1, "absolute_threshold": 1e6},
}
ROWS, DIM, STEPS = 6, 2, 20

# Keras 2 and TensorFlow Recommenders live in a process of their own; both read this.
ORACLE = """
import sys
import numpy as np, tensorflow as tf
from tensorflow_recommenders.experimental.optimizers import ClippyAdagrad
given, out = np.load(sys.argv[1], allow_pickle=False), {}
cases = eval(str(given["cases"]))
for name, arguments in cases.items():
    for kind in ("dense", "sparse"):
        optimizer = ClippyAdagrad(**arguments, export_clipping_factors=True)
        table, bias = tf.Variable(given["table"]), tf.Variable(given["bias"])
        optimizer.build([table, bias])
        path, factors = [], []
        for ids, values, bias_gradient in zip(given["ids"], given["values"], given["biases"]):
            gradient = tf.IndexedSlices(tf.constant(values), tf.constant(ids), table.shape)
            if kind == "dense":
                gradient = tf.convert_to_tensor(gradient)
            optimizer.apply_gradients([(gradient, table), (tf.constant(bias_gradient), bias)])
            path.append(np.concatenate([table.numpy().ravel(), bias.numpy()]))
            factors.append([factor.numpy() for factor in optimizer.clipping_factors])
        out[name + "/" + kind], out[name + "/factors/" + kind] = path, factors
np.savez(sys.argv[2], **out)
"""


def numbers():
    """Weights, one of them zero, and gradients whose ids repeat."""
    rng = np.random.default_rng(5)
    ids = (ROWS * rng.random((STEPS, 9)) ** 2).astype("int32")
    values = rng.normal(size=(STEPS, 9, DIM)).astype("float32")
    values[:, 0] *= 10
    table = rng.normal(size=(ROWS, DIM)).astype("float32")
    table[3] = 0
    biases = rng.normal(size=(STEPS, 3)).astype("float32")
    biases[:, 1] = 0
    return {"ids": ids, "values": values, "table": table, "bias": table[:3, 0], "biases": biases}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """What tfrs makes of the same numbers: weights and factors after every step."""
    folder = tmp_path_factory.mktemp("tfrs")
    np.savez(folder / "in.npz", cases=repr(CASES), **numbers())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ORACLE, folder / "in.npz", folder / "out.npz"],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "out.npz")


def ours(kind, jit_compile=False, **arguments):
    given = numbers()
    optimizer = ClippyAdagrad(**arguments, export_clipping_factors=True)
    table, bias = keras.Variable(given["table"]), keras.Variable(given["bias"])
    optimizer.build([table, bias])

    @tf.function(jit_compile=jit_compile)
    def step(ids, values, bias_gradient):
        gradient = tf.IndexedSlices(values, ids)
        if kind == "dense":
            gradient = tf.math.unsorted_segment_sum(values, ids, ROWS)
        optimizer.apply([gradient, bias_gradient], [table, bias])

    path, factors = [], []
    for numbers_of_step in zip(given["ids"], given["values"], given["biases"], strict=True):
        step(*map(tf.constant, numbers_of_step))
        path.append(np.concatenate([np.asarray(table).ravel(), np.asarray(bias)]))
        factors.append([float(factor) for factor in optimizer.clipping_factors])
    return np.array(path), np.array(factors)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_equals_tfrs(oracle, case, kind):
    path, factors = ours(kind, **CASES[case])
    np.testing.assert_allclose(path, oracle[f"{case}/{kind}"], atol=1e-6)
    np.testing.assert_allclose(factors, oracle[f"{case}/factors/{kind}"], rtol=1e-5, atol=1e-7)
    assert np.abs(path[-1] - path[0]).max() > 1e-6
    assert (factors < 1).any() == (case != "unbounded")


def test_xla_gives_the_same():
    path, factors = ours("sparse", **CASES["default"])
    compiled, compiled_factors = ours("sparse", jit_compile=True, **CASES["default"])
    np.testing.assert_allclose(path, compiled, atol=1e-6)
    np.testing.assert_allclose(factors, compiled_factors, rtol=1e-5)


@pytest.mark.parametrize("replicas", [1, 2])
def test_fifty_steps_equal_the_dense_model(twin, replicas):
    ids, labels = twin.data()
    options = {"learning_rate": 0.3, "clipnorm": 0.5}
    dense = twin.start(twin.TwoTables(dense=True))
    dense = twin.train(dense, ClippyAdagrad(**options), ids, labels)
    strategy = twin.two_replicas() if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        model = twin.start(twin.TwoTables())
        optimizer = ClippyAdagrad(**options, export_clipping_factors=True)
    sparse = twin.train(model, optimizer, ids, labels, replicas=replicas)
    assert twin.largest_difference(sparse, dense) < twin.TOLERANCE
    assert twin.largest_difference(sparse, twin.start(twin.TwoTables()).get_weights()) > 0.01
    factors = [float(tf.convert_to_tensor(f.value)) for f in optimizer.clipping_factors]
    assert 0 < min(factors) < 1


def test_no_weight_moves_further_than_its_bound_by_hand():
    w = keras.Variable(np.array([[1.0, 2.0], [10.0, 10.0], [0.5, 0.5]], "float32"))
    slices = tf.IndexedSlices(tf.constant([[8.0, 0.0], [1.0, 0.0]]), tf.constant([0, 1]))
    optimizer = ClippyAdagrad(1.0, 1.0, absolute_threshold=0.0, epsilon=0.0)
    optimizer.apply([slices], [w])
    # Steps 8 and 1; bounds 0.1 and 1: the factor is 0.1 / 8 for both.
    np.testing.assert_allclose(w, [[0.9, 2.0], [10 - 1 / 80, 10.0], [0.5, 0.5]], rtol=1e-6)
    accumulator = optimizer.row_slots(0)[0]
    np.testing.assert_allclose(accumulator, [[65.0, 1.0], [2.0, 1.0], [1.0, 1.0]])


def test_a_weight_at_zero_holds_the_variable_back():
    for threshold, moved in ((0.0, 0.0), (0.5, 0.5)):
        w = keras.Variable([0.0, 5.0])
        optimizer = ClippyAdagrad(1.0, 1.0, absolute_threshold=threshold, epsilon=0.0)
        optimizer.apply([tf.constant([1.0, 1.0])], [w])
        np.testing.assert_allclose(w, [-moved, 5 - moved])


def test_weight_decay_comes_before_the_bound():
    w = keras.Variable([1.0])
    optimizer = ClippyAdagrad(
        1.0, absolute_threshold=0.0, weight_decay=0.5, export_clipping_factors=True
    )
    optimizer.apply([tf.constant([1e6])], [w])
    np.testing.assert_allclose(w, [0.5 * 0.9], rtol=1e-6)
    step = 1e6 / np.sqrt(0.1)
    np.testing.assert_allclose(float(optimizer.clipping_factors[0]), 0.05 / step, rtol=1e-5)


def test_config_round_trip():
    optimizer = ClippyAdagrad(0.5, clip_accumulator_update=True, absolute_threshold=1e-3)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, ClippyAdagrad)
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variable_relative_threshold": -0.1}, "variable_relative_threshold must be a finite"),
        ({"absolute_threshold": float("nan")}, "absolute_threshold must be"),
        ({"accumulator_relative_threshold": float("inf")}, "accumulator_relative_threshold must"),
        ({"epsilon": True}, "epsilon must be"),
        ({"clipnorm": 1.0, "adaptive_clip": 0.01}, "Only one of"),
        (
            {"clip_accumulator_update": True, "use_standard_accumulator_update": True},
            "cannot both be True",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClippyAdagrad(**arguments)
