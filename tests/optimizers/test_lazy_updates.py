"""After any step, what anyone reads of a table is what the next step starts from.

Every optimizer is compared with the same lazy semantics written for whole tables in numpy: the
gradient of all rows, clipped as a whole, and the formula for the rows that an id of the batch
points to. Tables are small enough for one step over the whole, large, and in between.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec import optimizers
from kerasrec.layers import Embedding

ROWS, DIM, BATCH, STEPS, RATE, NORM = (10, 8_000, 600_000), 2, 8, 6, 0.05, 0.5
# Float32 rounding, on numbers of about 1.
TOLERANCE = 1e-6


# Formulas in float64: rows, state and gradients of the touched rows, the step from 1.


def sgd(row, state, gradient, step, momentum=0.0, nesterov=False):
    if not momentum:
        return row - RATE * gradient, state
    velocity = momentum * state[0] - RATE * gradient
    return row + (momentum * velocity - RATE * gradient if nesterov else velocity), [velocity]


def adagrad(row, state, gradient, step, by_row=False):
    square = gradient**2
    if by_row and row.ndim > 1:
        square = np.ones_like(row) * square.mean(axis=1, keepdims=True)
    total = state[0] + square
    return row - RATE * gradient / np.sqrt(total + 1e-7), [total]


def adam(row, state, gradient, step, amsgrad=False, decay=0.0):
    row = row * (1 - RATE * decay)
    m = 0.9 * state[0] + 0.1 * gradient
    v = 0.999 * state[1] + 0.001 * gradient**2
    largest = np.maximum(state[2], v) if amsgrad else v
    alpha = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    row = row - alpha * m / (np.sqrt(largest) + 1e-7)
    return row, [m, v, largest] if amsgrad else [m, v]


def ftrl(row, state, gradient, step, l1=1e-3, beta=0.1):
    total, linear = state
    more = total + gradient**2
    linear = linear + gradient - (np.sqrt(more) - np.sqrt(total)) / RATE * row
    return (np.clip(linear, -l1, l1) - linear) / ((np.sqrt(more) + beta) / RATE), [more, linear]


def clippy(row, state, gradient, step):
    scale = 1 / np.sqrt(state[0] + 1e-7)
    change = RATE * gradient * scale
    bound = 0.1 * np.abs(row) + 1e-7
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(change == 0, 1.0, bound / np.abs(change))
    return row - min(1.0, ratio.min(initial=1.0)) * change, [state[0] + gradient**2]


def case(make, formula, starts=(), **options):
    return make, lambda *step: formula(*step, **options), starts


KINDS = {
    "sgd": case(optimizers.SGD, sgd),
    "momentum": case(lambda r, **o: optimizers.SGD(r, 0.9, **o), sgd, (0,), momentum=0.9),
    "nesterov": case(
        lambda r, **o: optimizers.SGD(r, 0.8, nesterov=True, **o),
        sgd,
        (0,),
        momentum=0.8,
        nesterov=True,
    ),
    "adagrad": case(optimizers.Adagrad, adagrad, (0.1,)),
    "rowwise": case(optimizers.RowwiseAdagrad, adagrad, (0.1,), by_row=True),
    "adam": case(optimizers.Adam, adam, (0, 0)),
    "amsgrad": case(
        lambda r, **o: optimizers.Adam(r, amsgrad=True, **o), adam, (0, 0, 0), amsgrad=True
    ),
    "adamw": case(
        lambda r, **o: optimizers.AdamW(r, weight_decay=0.3, **o), adam, (0, 0), decay=0.3
    ),
    "ftrl": case(
        lambda r, **o: optimizers.Ftrl(r, l1_regularization_strength=1e-3, beta=0.1, **o),
        ftrl,
        (0.1, 0),
    ),
    "clippy": case(optimizers.ClippyAdagrad, clippy, (0.1,)),
}


class Reference:
    """The semantics for whole tables, one step at a time, from the variable as it is read."""

    def __init__(self, kind, variables, clipped=True, constraint=None):
        _, self.formula, starts = KINDS[kind]
        self.values = [np.array(v, "float64") for v in variables]
        self.state = [[np.full(v.shape, s, "float64") for s in starts] for v in self.values]
        self.clipped, self.constraint, self.step = clipped, constraint, 0

    def apply(self, gradients):
        self.step += 1
        for at, gradient in enumerate(gradients):
            touched = slice(None)
            if isinstance(gradient, tf.IndexedSlices):
                touched = np.unique(gradient.indices)
            whole = np.array(tf.convert_to_tensor(gradient), "float64")
            if self.clipped:
                whole *= NORM / max(np.linalg.norm(whole), NORM)
            value, state = self.values[at], self.state[at]
            old = value[touched], [slot[touched] for slot in state]
            row, new = self.formula(*old, whole[touched], self.step)
            if self.constraint is not None and isinstance(gradient, tf.IndexedSlices):
                row = np.array(self.constraint(row.astype("float32")), "float64")
            value[touched] = row
            for slot, rows in zip(state, new, strict=True):
                slot[touched] = rows


def model_of(rows, layer=Embedding, tied=False, **options):
    """The mean of a bag, as a number each, or as scores of all rows by the same table."""
    ids = keras.Input((3,), dtype="int32")
    table = layer(rows, DIM, name="table", **options)
    mean = keras.ops.mean(table(ids), axis=1)
    model = keras.Model(ids, ScoreAllRows(table)(mean) if tied else keras.layers.Dense(1)(mean))
    rng = np.random.default_rng(3)
    # Rows that are not short: to be normalised would magnify their rounding.
    model.set_weights(
        [
            (rng.choice([-1, 1], w.shape) * rng.uniform(0.5, 1.5, w.shape)).astype("float32")
            for w in model.get_weights()
        ]
    )
    return model


class ScoreAllRows(keras.layers.Layer):
    """A vector times all rows of the table that another layer looks up."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def call(self, vectors):
        return vectors @ keras.ops.transpose(self.table.embeddings)


def data(rows, steps=STEPS, targets=1):
    """Few ids often, others once: rows rest for some steps and come again."""
    rng = np.random.default_rng(rows)
    ids = (rows * rng.random((steps, BATCH, 3)) ** 4).astype("int32")
    return ids, rng.normal(size=(steps, BATCH, targets)).astype("float32")


def gradients_of(model, ids, labels, values, loss="mse"):
    """What stock Keras computes from given weights."""
    kept = model.get_weights()
    model.set_weights([v.astype("float32") for v in values])
    with tf.GradientTape() as tape:
        predicted = model(ids, training=True)
        total = tf.reduce_mean(keras.losses.get(loss)(labels, predicted)) + sum(model.losses)
    found = tape.gradient(total, [v.value for v in model.trainable_variables])
    model.set_weights(kept)
    return found


class Follow(keras.callbacks.Callback):
    """Takes the same steps beside `fit`, and compares after each of them."""

    def __init__(self, kind, twin, ids, labels, event=None, **options):
        super().__init__()
        self.kind, self.twin, self.batches, self.event = kind, twin, (ids, labels), event
        self.options, self.reference, self.largest = options, None, 0.0

    def on_train_begin(self, logs=None):
        if self.reference is None:
            weights = self.model.get_weights()
            self.reference = Reference(self.kind, weights, **self.options)

    def on_train_batch_end(self, batch, logs=None):
        ids, labels = (part[batch] for part in self.batches)
        values = self.reference.values
        self.reference.apply(gradients_of(self.twin, ids, labels, values))
        self.compare()
        if self.event is not None:
            self.event(self, batch)

    def compare(self):
        for ours, theirs in zip(self.model.get_weights(), self.reference.values, strict=True):
            self.largest = max(self.largest, np.abs(ours - theirs).max())
        # The next step starts from the variable, so that only one step's rounding is compared.
        self.reference.values = [np.array(w, "float64") for w in self.model.get_weights()]


def fit(model, ids, labels, callbacks=(), epochs=1):
    batches = tf.data.Dataset.from_tensor_slices((ids, labels))
    return model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))


def compiled(kind, model, **options):
    make = KINDS[kind][0]
    model.compile(make(RATE, **{"clipnorm": NORM, **options}), "mse")
    return model


def followed(kind, rows, event=None, callbacks=(), steps=STEPS, layer=Embedding, **options):
    """A training that is compared step by step."""
    build = {"layer": layer, **options.pop("build", {})}
    model = compiled(kind, model_of(rows, **build), **options.pop("optimizer", {}))
    ids, labels = data(rows, steps, targets=rows if build.get("tied") else 1)
    follow = Follow(kind, model_of(rows, **build), ids, labels, event, **options)
    fit(model, ids, labels, [follow, *callbacks])
    assert follow.reference.step == steps
    assert follow.largest < TOLERANCE
    return model, follow


def for_each():
    """Every optimizer on every size: the fast tests have little of it, the nightly ones all."""

    def marks(kind, rows):
        if (kind == "adam" and rows < 600_000) or (kind == "sgd" and rows == 10):
            return []
        return pytest.mark.slow if kind == "adam" or rows == 8_000 else pytest.mark.nightly

    return pytest.mark.parametrize(
        ("kind", "rows"),
        [pytest.param(kind, rows, marks=marks(kind, rows)) for kind in KINDS for rows in ROWS],
    )


@for_each()
@pytest.mark.parametrize("layer", [Embedding, keras.layers.Embedding])
def test_fit(kind, rows, layer):
    model, _ = followed(kind, rows, layer=layer)
    ids, labels = data(rows)
    in_training, after = (model(ids[0], training=training) for training in (True, False))
    np.testing.assert_array_equal(in_training, after)
    assert np.abs(model.get_weights()[0] - model_of(rows).get_weights()[0]).max() > 1e-3


@for_each()
def test_a_frozen_table_stays(kind, rows):
    model, _ = followed(kind, rows)
    table = model.get_layer("table")
    before = np.array(table.embeddings)
    table.trainable = False
    compiled(kind, model)
    fit(model, *data(rows))
    np.testing.assert_array_equal(table.embeddings, before)
    table.trainable = True
    model.compile(optimizers.SGD(0.0), "mse")
    fit(model, *data(rows))
    np.testing.assert_array_equal(table.embeddings, before)


@for_each()
def test_two_losses_in_turn(kind, rows):
    """Two models share their layers, each with an optimizer and a loss of its own."""
    first, twin = model_of(rows), model_of(rows)
    second = keras.Model(first.inputs, first.outputs)
    ids, labels = data(rows)
    followers = []
    for model, loss in ((first, "mse"), (second, "mae")):
        model.compile(KINDS[kind][0](RATE, clipnorm=NORM), loss)
        followers.append((model, Reference(kind, first.get_weights()), loss))
    for number in range(STEPS):
        model, reference, loss = followers[number % 2]
        reference.values = [np.array(w, "float64") for w in first.get_weights()]
        gradients = gradients_of(twin, ids[number], labels[number], reference.values, loss)
        reference.apply(gradients)
        model.train_on_batch(ids[number], labels[number])
        for ours, theirs in zip(second.get_weights(), reference.values, strict=True):
            assert np.abs(ours - theirs).max() < TOLERANCE


@for_each()
@pytest.mark.parametrize("how", ["tied", "regularized"])
def test_a_gradient_of_all_rows_updates_all_rows(kind, rows, how):
    # Scores of 600,000 rows for each of the batch would take as many bytes as a thousand tables.
    tied = how == "tied" and rows < ROWS[-1]
    build = {"tied": True} if tied else {"embeddings_regularizer": "l2"}
    followed(kind, rows, build=build, steps=3)


@for_each()
@pytest.mark.parametrize("overwrite", [None, 2])
def test_moving_averages(kind, rows, overwrite):
    options = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": overwrite}
    model = compiled(kind, model_of(rows), **options)
    reference, twin = Reference(kind, model.get_weights()), model_of(rows)
    ids, labels = data(rows)
    averages = []
    for number in range(STEPS):
        reference.apply(gradients_of(twin, ids[number], labels[number], reference.values))
        # Keras starts the averages with the weights after the first step.
        averages = [
            0.9 * a + 0.1 * v
            for a, v in zip(averages or reference.values, reference.values, strict=True)
        ]
        if overwrite and (number + 1) % overwrite == 0:
            reference.values = [a.copy() for a in averages]
        model.train_on_batch(ids[number], labels[number])
        for ours, theirs in zip(model.get_weights(), reference.values, strict=True):
            assert np.abs(ours - theirs).max() < TOLERANCE
        reference.values = [np.array(w, "float64") for w in model.get_weights()]
    # What `fit` calls when it ends.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for ours, theirs in zip(model.get_weights(), averages, strict=True):
        assert np.abs(ours - theirs).max() < TOLERANCE


@for_each()
@pytest.mark.parametrize(
    "constraint",
    [
        optimizers.ClipWeights(0.12),
        keras.constraints.UnitNorm(axis=1),
        keras.constraints.MaxNorm(0.5, axis=1),
    ],
    ids=["clip", "unit", "max"],
)
def test_rows_are_looked_up_as_they_were_constrained(kind, rows, constraint):
    if kind == "ftrl" and isinstance(constraint, keras.constraints.UnitNorm):
        # Ftrl makes rows anew, near 0: stretched to a length of 1, they are all rounding.
        constraint = keras.constraints.MaxNorm(0.7, axis=1)
    build = {"embeddings_constraint": constraint}

    def look_up(follow, step):
        table = follow.model.get_layer("table")
        rows = table(follow.batches[0][step], training=True)
        flat = keras.ops.reshape(rows, (-1, DIM))
        held = np.array(table.embeddings)[follow.batches[0][step].ravel()]
        np.testing.assert_array_equal(flat, held)
        np.testing.assert_allclose(constraint(flat), flat, atol=1e-6)

    followed(kind, rows, look_up, build=build, constraint=constraint)


@for_each()
@pytest.mark.parametrize("layer", [Embedding, keras.layers.Embedding])
def test_checkpoints_hold_the_weights_of_their_step(kind, rows, layer, tmp_path):
    held = {}

    def keep(follow, step):
        held[step + 1] = follow.model.get_weights()

    path = str(tmp_path / "{batch}.weights.h5")
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_freq=2, save_weights_only=True)
    model, _ = followed(kind, rows, keep, [checkpoint], layer=layer)
    whole = str(tmp_path / "whole.keras")
    model.save(whole)
    files = sorted(tmp_path.glob("*.h5"))
    assert len(files) == STEPS // 2
    for file in files:
        loaded = model_of(rows, layer=layer)
        loaded.load_weights(file)
        for ours, theirs in zip(loaded.get_weights(), held[int(file.name[0])], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    again = keras.models.load_model(whole)
    ids, labels = data(rows)
    for one in (model, again):
        fit(one, ids[::-1], labels[::-1])
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@for_each()
def test_weights_set_in_a_callback_are_where_the_next_step_starts(kind, rows):
    def put(follow, step):
        if step == 2:
            weights = [w + 1 for w in follow.model.get_weights()]
            follow.model.set_weights(weights)
            follow.reference.values = [np.array(w, "float64") for w in weights]

    followed(kind, rows, put)


@for_each()
def test_ctrl_c_leaves_the_weights_of_the_steps_taken(kind, rows):
    def interrupt(follow, step):
        if step == 3:
            raise KeyboardInterrupt

    model = compiled(kind, model_of(rows))
    ids, labels = data(rows)
    follow = Follow(kind, model_of(rows), ids, labels, interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(model, ids, labels, [follow])
    assert follow.reference.step == 4
    held = model.get_weights()
    follow.compare()
    assert follow.largest < TOLERANCE
    follow.event, follow.reference.step = None, 4
    fit(model, ids[::-1], labels[::-1], [follow_again(follow, ids[::-1], labels[::-1])])
    assert follow.largest < TOLERANCE
    assert np.abs(model.get_weights()[0] - held[0]).max() > 1e-4


def follow_again(follow, ids, labels):
    """The same reference beside another `fit`."""
    follow.batches = ids, labels
    return follow


@for_each()
def test_an_export_in_a_callback_answers_as_the_model_does(kind, rows, tmp_path):
    def export(follow, step):
        if step == 2:
            folder = str(tmp_path / "exported")
            follow.model.export(folder, verbose=False)
            ids = follow.batches[0][step]
            served = tf.saved_model.load(folder)
            np.testing.assert_allclose(served.serve(ids), follow.model(ids), rtol=1e-6, atol=1e-6)

    followed(kind, rows, export)
