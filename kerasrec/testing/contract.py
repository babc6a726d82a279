"""Checks of the contract kit. Each takes a `ModelCase` and raises `AssertionError` on failure."""

import inspect
import json
import os
import tempfile
from collections.abc import Callable
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from kerasrec.schema import FIRST_ID, PADDING_ID, UNKNOWN_ID
from kerasrec.testing.assertions import demand, same, score, shake
from kerasrec.testing.cases import ModelCase, random_inputs, scattered
from kerasrec.testing.learning import check_learns
from kerasrec.testing.sides import check_contributions, check_parts, check_retrieval
from kerasrec.types import Autoencoder, SequenceModel


def check_model(case: ModelCase) -> None:
    """Run every check of `CHECKS`.

    In a test suite, parametrise over `CHECKS` instead, to report each check by name.

    Args:
        case: facts about the model.

    Raises:
        AssertionError: at the first check that fails.

    Example:

    >>> from kerasrec.models import Popularity
    >>> from kerasrec.testing import ModelCase
    >>> check_model(ModelCase(Popularity, num_params=19, trains=False))
    """
    for check in CHECKS:
        check(case)


def check_arguments(case: ModelCase) -> None:
    """Check that all arguments are keyword-only plain values, stored unchanged; at most 8."""
    parameters = dict(inspect.signature(case.model).parameters)
    demand(next(iter(parameters)) == "schema", case, "the first argument is the schema")
    own = {n: p for n, p in parameters.items() if n not in ("schema", "name", "dtype")}
    demand({"name", "dtype"} <= set(parameters), case, "takes name and dtype")
    demand(len(own) <= 8, case, f"at most 8 arguments of its own, not {len(own)}")
    model = case.new()
    for name, parameter in own.items():
        demand(parameter.kind is parameter.KEYWORD_ONLY, case, f"{name} is keyword-only")
        demand(parameter.default is not parameter.empty, case, f"{name} has a default")
        given = case.kwargs.get(name, parameter.default)
        given = tuple(given) if isinstance(given, list) else given
        demand(getattr(model, name) == given, case, f"keeps {name}={given!r}")


def check_config(case: ModelCase) -> None:
    """Check that the config survives JSON exactly and recreates the same architecture."""
    model = case.new(name="renamed")
    model.trainable = False
    config = json.loads(json.dumps(model.get_config()))
    again = case.model.from_config(config)
    demand(json.loads(json.dumps(again.get_config())) == config, case, "config round trip")
    demand(again.name == "renamed" and not again.trainable, case, "name and trainable survive")
    demand(again.schema == case.schema, case, "schema survives")
    shapes = [tuple(w.shape) for w in model.weights]
    demand([tuple(w.shape) for w in again.weights] == shapes, case, "same weight shapes")


def check_build(case: ModelCase) -> None:
    """Check that all weights exist before any data, and the number of parameters."""
    model = case.new()
    demand(model.built, case, "is built by its constructor")
    count = model.count_params()
    demand(count == case.num_params, case, f"{case.num_params} parameters, not {count}")
    weights = len(model.weights)
    score(model, random_inputs(case.schema, 3))
    demand(len(model.weights) == weights, case, "a call adds no weights")
    paths = [w.path for w in model.weights]
    demand(len(set(paths)) == len(paths), case, f"weight paths are unique: {paths}")
    for weight in model.trainable_weights:
        twins = [
            w
            for w in model.trainable_weights
            if w is not weight and w.shape == weight.shape and np.ptp(w.numpy()) > 0
        ]
        for twin in twins:
            equal = np.array_equal(twin.numpy(), weight.numpy())
            demand(not equal, case, f"{weight.path} and {twin.path} start different")


def check_call(case: ModelCase) -> None:
    """Check that eager, compiled, XLA and predict agree, with and without candidates.

    Without items there are no candidates.
    """
    model = case.new()
    shake(model)
    for candidates in (None, 1, 4) if case.schema.item else (None,):
        inputs = random_inputs(case.schema, 5, candidates=candidates)
        eager = model(inputs)
        shape = (5,) if candidates is None else (5, candidates)
        if model.output_kind == "logits":
            shape = (*shape, model.num_classes)
        demand(tuple(eager.shape) == shape, case, f"scores {shape}, not {tuple(eager.shape)}")
        demand(eager.dtype == tf.float32, case, f"float32 scores, not {eager.dtype}")
        model.make_predict_function(force=True)  # it cannot change rank
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        for how, compiled in {
            "compiled": tf.function(model)(tensors),
            "XLA": tf.function(model, jit_compile=True)(tensors),
            "predict": model.predict_on_batch(inputs),
        }.items():
            same(compiled, eager, case, f"{how} = eager with candidates={candidates}")
    # The same pair scores the same with and without a candidate axis.
    inputs = random_inputs(case.schema, 6)
    item = {f.name for f in case.schema.item}
    wide = {n: v[:, None] if n in item else v for n, v in inputs.items()}
    if case.schema.item:
        same(score(model, wide)[:, 0], score(model, inputs), case, "one candidate = no candidates")


def check_batch(case: ModelCase) -> None:
    """Check that a row's score is independent of the other rows, their number and their order."""
    model = case.new()
    shake(model)
    inputs = random_inputs(case.schema, 7)
    scores = score(model, inputs)
    for row in range(7):
        alone = score(model, {n: v[row : row + 1] for n, v in inputs.items()})
        same(alone, scores[row : row + 1], case, "a row alone = the row in its batch")
    backwards = score(model, {n: v[::-1] for n, v in inputs.items()})
    same(backwards[::-1], scores, case, "order of rows")
    if not case.schema.item:
        return
    # A padding candidate beside others changes none of their scores.
    wide = random_inputs(case.schema, 3, candidates=4)
    padded = {n: v.copy() for n, v in wide.items()}
    padded[case.schema.item_id.name][:, -1] = PADDING_ID
    same(score(model, padded)[:, :-1], score(model, wide)[:, :-1], case, "padding candidate")


def check_padding(case: ModelCase) -> None:
    """Check that scores depend neither on the table row of padding nor on its position."""
    padded = [f for f in case.schema.features if f.is_padded and f.has_ids]
    model = case.new()
    shake(model)
    inputs = random_inputs(case.schema, 7)
    before = score(model, inputs)
    demand(np.isfinite(before).all(), case, "empty bags and sequences score finitely")
    sizes = {case.schema.num_ids(f.name) for f in padded}
    for weight in model.weights:
        numbers = keras.backend.is_float_dtype(weight.dtype)  # others are kept ids
        if numbers and len(weight.shape) == 2 and weight.shape[0] in sizes:
            value = weight.numpy()
            value[PADDING_ID] += 100.0
            weight.assign(value)
    same(score(model, inputs), before, case, "padding row")
    for seed, more in enumerate((0, 0, 1, 3)):
        moved = scattered(case.schema, inputs, more, seed)
        same(score(model, moved), before, case, f"padding anywhere, {more} places more")


def check_unknown_ids(case: ModelCase) -> None:
    """Check that scores are finite for unknown ids, separately and all at once."""
    model = case.new()
    shake(model)
    inputs = random_inputs(case.schema, 4)
    ids = [name for name, value in inputs.items() if value.dtype == np.int32]
    for unknown in [*([name] for name in ids), ids]:
        some = {n: np.full_like(v, UNKNOWN_ID) if n in unknown else v for n, v in inputs.items()}
        demand(np.isfinite(score(model, some)).all(), case, f"finite with unknown {unknown}")


def check_missing_input(case: ModelCase) -> None:
    """Check that a missing feature is named in a `ValueError` and extra keys are ignored."""
    model = case.new()
    inputs = random_inputs(case.schema, 2)
    for name in inputs:
        try:
            model({n: v for n, v in inputs.items() if n != name})
        except ValueError as error:
            demand(name in str(error), case, f"the message names {name!r}: {error}")
        else:
            demand(False, case, f"missing {name!r} is a ValueError")
    more = score(model, {**inputs, "not_in_schema": np.zeros(2, "float32")})
    same(more, score(model, inputs), case, "extra keys are ignored")


def check_gradients(case: ModelCase) -> None:
    """Check that every trainable weight receives a gradient."""
    model = case.new()
    demand(bool(model.trainable_weights) == case.trains, case, f"trains is {case.trains}")
    if not case.trains:
        return
    shake(model)
    inputs = random_inputs(case.schema, 64)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(inputs, training=True) - 1.0))
        if isinstance(model, Autoencoder):  # what is drawn is trained through bags of items alone
            items = np.reshape(np.arange(FIRST_ID, FIRST_ID + 6, dtype="int32"), (2, 3))
            loss += tf.reduce_mean(model.reconstruct(items, training=True)[1])
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        demand(gradient is not None, case, f"{weight.path} has a gradient")
        norm = float(tf.norm(tf.convert_to_tensor(gradient)))
        demand(np.isfinite(norm) and norm > 0, case, f"{weight.path} has gradient norm {norm}")


def check_fit(case: ModelCase) -> None:
    """Check that stock `compile` and `fit` lower the loss, with and without XLA alike."""
    if not case.trains:
        return
    plain = _fit(case, case.new())
    demand(plain[-1] < plain[0], case, f"the loss falls: {plain}")
    same(_fit(case, case.new(), jit_compile=True), plain, case, "XLA losses", 1e-3)


def check_weights(case: ModelCase) -> None:
    """Check that a row of weight 0 does not train and a row of weight 2 counts twice."""
    if not case.trains:
        return
    inputs = random_inputs(case.schema, 6)
    labels = _over_classes(case, np.arange(6, dtype="float32"))
    weights = np.array([2, 1, 1, 1, 1, 0], "float32")
    twice = np.array([0, 0, 1, 2, 3, 4])
    model = case.new()
    shake(model)
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    weighted = model.evaluate(inputs, labels, sample_weight=weights, verbose=0)
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    repeated = model.evaluate({n: v[twice] for n, v in inputs.items()}, labels[twice], verbose=0)
    same(weighted[1], repeated[1], case, "weighted metric = repeated rows")
    if not model.losses:  # the penalty ignores sample weights
        same(weighted[0], repeated[0], case, "weighted loss = repeated rows")


def check_mixed_precision(case: ModelCase) -> None:
    """Check mixed_bfloat16: float32 scores and weights, close to float32, and trainable."""
    full, mixed = case.new(), case.new(dtype="mixed_bfloat16")
    shake(full)
    mixed.set_weights(full.get_weights())
    inputs = random_inputs(case.schema, 9)
    scores = mixed(inputs)
    demand(scores.dtype == tf.float32, case, "float32 scores under mixed_bfloat16")
    numbers = [w for w in mixed.weights if keras.backend.is_float_dtype(w.dtype)]
    demand(all(w.dtype == "float32" for w in numbers), case, "float32 weights")
    same(scores, full(inputs), case, "mixed_bfloat16 = float32", 0.05)
    if case.trains:
        losses = _fit(case, case.new(dtype="mixed_bfloat16"))
        demand(losses[-1] < losses[0], case, f"the loss falls under mixed_bfloat16: {losses}")


def check_keras_file(case: ModelCase) -> None:
    """Check that a `.keras` file restores the class, the config and the scores."""
    model = case.new()
    shake(model)
    inputs = random_inputs(case.schema, 5)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        again = keras.saving.load_model(path)
    demand(type(again) is case.model, case, "same class from a .keras file")
    demand(again.get_config() == model.get_config(), case, "same config from a .keras file")
    demand(np.array_equal(score(again, inputs), score(model, inputs)), case, "same scores")


def check_saved_model(case: ModelCase) -> None:
    """Check that a SavedModel has the schema's names and dtypes and the same scores."""
    model = case.new()
    shake(model)
    signature = {
        f.name: tf.TensorSpec((None, *f.shape), f.dtype, name=f.name) for f in case.schema.features
    }
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serve", lambda inputs: model(inputs), input_signature=[signature])
        archive.write_out(folder, verbose=False)
        served = tf.saved_model.load(folder).signatures["serve"]
        taken = {
            n: (s.shape.as_list(), s.dtype) for n, s in served.structured_input_signature[1].items()
        }
        wanted = {n: (s.shape.as_list(), s.dtype) for n, s in signature.items()}
        demand(taken == wanted, case, f"signature {wanted}, not {taken}")
        for batch_size in (1, 7):
            inputs = random_inputs(case.schema, batch_size)
            (scores,) = served(**{n: tf.constant(v) for n, v in inputs.items()}).values()
            same(scores, model(inputs), case, f"SavedModel = Keras at batch {batch_size}")


def check_states(case: ModelCase) -> None:
    """Check the states of a sequence model: causal, separate, for histories of any length."""
    model = case.new()
    if not isinstance(model, SequenceModel):
        return
    shake(model)
    # The Protocol has methods alone, so that classes can be asked too.
    sequence = cast(Any, model).sequence
    name, width = sequence.name, sequence.max_length
    num_ids = case.schema.item_id.num_ids
    ids = np.random.default_rng(0).integers(FIRST_ID, num_ids, (2, width + 1)).astype("int32")
    full = ids[:, :width]
    states = np.asarray(model.states(full))
    for length in range(1, width + 1):
        cut = np.where(np.arange(width) < length, full, 0)
        same(model.states(cut)[:, :length], states[:, :length], case, "later steps")
        same(model.states(cut[:, :length]), states[:, :length], case, "padding cut off")
    for length in range(1, width):  # two sequences in one row, and each on its own
        both = np.concatenate([full[0, :length], full[1, : width - length]])[None]
        index = np.concatenate([np.arange(length), np.arange(width - length)])[None]
        packed = np.asarray(model.states(both, index.astype("int32")))[0]
        same(packed[:length], states[0, :length], case, "first of a packed row")
        same(packed[length:], states[1, : width - length], case, "second of a packed row")
    inputs = random_inputs(case.schema, 2)
    same(
        score(model, {**inputs, name: ids}),
        score(model, {**inputs, name: ids[:, 1:]}),
        case,
        "of a history that is too long the newest items count",
    )
    for history in (ids[:, :0], ids[:, :1], full, np.full((2, 1), UNKNOWN_ID, "int32")):
        padded = np.pad(history, [[0, 0], [0, width - history.shape[1]]])
        scores = score(model, {**inputs, name: padded})
        demand(np.isfinite(scores).all(), case, f"finite for a history of {history.shape[1]}")
    for row in (0, 1):
        alone = {n: v[row : row + 1] for n, v in inputs.items()}
        short = {**inputs, name: np.where(np.arange(width) < 1 + row, full, 0)}
        short = {**short, name: np.stack([short[name][0], full[1]])}
        same(
            score(model, short)[row : row + 1],
            score(model, {**alone, name: short[name][row : row + 1]}),
            case,
            "histories of other lengths beside it",
        )


def check_two_replicas(case: ModelCase) -> None:
    """Check that two MirroredStrategy replicas follow the losses and weights of one device."""
    if not case.trains:
        return
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(devices) < 2:
        raise RuntimeError(
            "check_two_replicas needs two logical CPUs; this process has one. Before TensorFlow "
            "does anything else, call tf.config.set_logical_device_configuration(cpu, "
            "[tf.config.LogicalDeviceConfiguration()] * 2), for instance in conftest.py."
        )
    one = case.new()
    # Collective all-reduce confuses strategies created one after the other in one process.
    strategy = tf.distribute.MirroredStrategy(
        devices[:2], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        two = case.new()
    two.set_weights(one.get_weights())
    same(_fit(case, two), _fit(case, one), case, "two replicas' losses", 1e-4)
    for ours, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
        same(theirs, ours, case, "two replicas' weights", 1e-4)


CHECKS: tuple[Callable[[ModelCase], None], ...] = (
    check_arguments,
    check_config,
    check_build,
    check_call,
    check_batch,
    check_padding,
    check_unknown_ids,
    check_missing_input,
    check_gradients,
    check_fit,
    check_weights,
    check_learns,
    check_mixed_precision,
    check_keras_file,
    check_saved_model,
    check_retrieval,
    check_parts,
    check_contributions,
    check_states,
    check_two_replicas,
)


def _over_classes(case: ModelCase, labels: np.ndarray) -> np.ndarray:
    """Return labels that broadcast over the logits of a multi-class model."""
    return labels[:, None] if case.new().output_kind == "logits" else labels


def _fit(case: ModelCase, model: Any, **options: Any) -> list[float]:
    """Return the losses of a short stock training, deterministic across calls."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(scale=0.1, size=weight.shape))
    inputs = random_inputs(case.schema, 64, seed=2)
    labels = _over_classes(case, rng.uniform(1, 5, size=64).astype("float32"))
    with model.distribute_strategy.scope():
        model.compile(keras.optimizers.SGD(0.05), keras.losses.MeanSquaredError(), **options)
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(16, drop_remainder=True)
    switches = tf.data.Options()
    switches.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    history = model.fit(data.with_options(switches), epochs=3, verbose=0)
    return [float(loss) for loss in history.history["loss"]]
