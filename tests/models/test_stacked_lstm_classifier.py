import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.models import StackedLSTMClassifier
from kerasrec.schema import IdSequence, NumericSequence
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema
from kerasrec.testing.assertions import shake

ITEMS = 17 + 2  # padding and unknown are rows too
PLAIN = tiny_schema()
HISTORY = IdSequence("history", of="item_id", max_length=4)
RATINGS = NumericSequence("ratings", of="rating", max_length=4)
PICTURES = NumericSequence("pictures", 2, of="picture", max_length=4, mean=0.5, deviation=2.0)
FULL = tiny_schema(features=True)
FULL = dataclasses.replace(FULL, context=(*FULL.context, RATINGS, PICTURES))
DENSE = dataclasses.replace(PLAIN, context=[RATINGS, PICTURES])
ITEMS_ALONE = dataclasses.replace(PLAIN, context=[HISTORY])


def lstm(inputs, units, gates=4):
    return gates * (inputs * units + units * units + units)


CASES = {
    "item history": ModelCase(
        StackedLSTMClassifier,
        schema=ITEMS_ALONE,
        # table; two layers; joined state, item and their product; U; the output
        num_params=ITEMS * 7 + lstm(7, 8) + lstm(8, 6) + (6 + 7 + 7) * 6 + 6 + 6 * 7 + 6 + 1,
        kwargs={"embedding_dim": 7, "hidden_units": (8, 6), "dropout": 0.0, "stddev": 0.2},
    ),
    "all kinds of features, gru": ModelCase(
        StackedLSTMClassifier,
        schema=FULL,
        # tables of items, genres, devices; W, U and two biases of three gates over item, rating and
        # picture; joined state, age, device, and twice item, genres and picture; U; the output
        num_params=(ITEMS + 6 + 5) * 7
        + 3 * ((7 + 1 + 2) * 8 + 8 * 8 + 2 * 8)
        + (8 + 1 + 7 + 2 * 16) * 8 + 8
        + 8 * 16
        + 8 + 1,
        kwargs={
            "embedding_dim": 7,
            "hidden_units": (8,),
            "cell": "gru",
            "dropout": 0.0,
            "stddev": 0.2,
        },
    ),
}  # fmt: skip
SEVERAL = {
    "three classes": ModelCase(
        StackedLSTMClassifier,
        schema=DENSE,
        num_params=lstm(3, 8) + 8 * 3 + 3,
        kwargs={"hidden_units": (8,), "num_classes": 3, "target_aware": False, "dropout": 0.0},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=() if name == "item history" else pytest.mark.slow)
        for name, case in (CASES | SEVERAL).items()
    ],
)
def test_contract(case, check):
    check(case)


def shaken(schema, **arguments):
    sizes = {"embedding_dim": 4, "hidden_units": (6, 5), "dropout": 0.0}
    model = StackedLSTMClassifier(schema, **{**sizes, **arguments})
    shake(model)
    return model


MODELS = {
    "both": shaken(FULL), "items": shaken(ITEMS_ALONE), "numbers": shaken(DENSE),
    "classes": shaken(FULL, num_classes=3, cell="gru"),
}  # fmt: skip
STEPS = [HISTORY, RATINGS, PICTURES]


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(list(MODELS)),
    lengths=st.lists(st.integers(0, 6), min_size=2, max_size=3),
    more=st.integers(0, 3),
    noise=st.floats(-5, 5),
    seed=st.integers(0, 99),
)
def test_padding_and_truncation_never_change_a_score(name, lengths, more, noise, seed):
    model, rng, width = MODELS[name], np.random.default_rng(seed), 6 + more
    inputs = random_inputs(model.schema, len(lengths), seed=seed)
    steps = [f for f in STEPS if f.name in inputs]
    for feature in steps:
        shape = (len(lengths), width, *feature.shape[1:])
        values = rng.integers(2, ITEMS, shape) if feature is HISTORY else rng.normal(size=shape)
        inputs[feature.name] = values.astype(feature.dtype)
    real = np.arange(width) < np.array(lengths)[:, None]
    for feature in steps:
        inputs[feature.name][~real] = 0 if feature is HISTORY else np.nan
    found = np.asarray(model(inputs))
    assert np.isfinite(found).all()
    if name != "numbers":  # where items say what is padding, numbers there do not count
        for feature in steps[1:]:
            inputs[feature.name][~real] = noise
        np.testing.assert_allclose(model(inputs), found, rtol=1e-4, atol=1e-5)
    for row, length in enumerate(lengths):
        newest = slice(max(0, length - 4), length)
        alone = {n: v[row : row + 1] for n, v in inputs.items()}
        for feature in steps:
            value = inputs[feature.name][row, newest]
            padding = 0 if feature is HISTORY else np.nan
            padded = np.full((4, *value.shape[1:]), padding, value.dtype)
            padded[: len(value)] = value
            alone[feature.name] = padded[None]
        np.testing.assert_allclose(np.asarray(model(alone))[0], found[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_each_step_scores_as_its_history_does(name):
    model = MODELS[name]
    schema = model.schema
    length, width = (3, 4), 7  # two sequences in one row
    rng = np.random.default_rng(0)
    packed = {}
    for feature in schema.features:
        shape = feature.shape[1:] if feature in STEPS else feature.shape
        values = rng.normal(size=(1, width, *shape))
        if feature.dtype == "int32":
            values = rng.integers(2, schema.num_ids(feature.name), (1, width, *shape))
        packed[feature.name] = values.astype(feature.dtype)
    position = np.concatenate([np.arange(n) for n in length])[None].astype("int32")
    found = np.asarray(model.step_logits(packed, position))[0]
    for step in range(width):
        begin = step - position[0, step]
        inputs = {n: v[:, step] for n, v in packed.items()}
        for feature in STEPS:
            if feature.name in packed:
                events = packed[feature.name][:, begin : step + 1]
                widths = [(0, 0), (0, 4 - events.shape[1])] + [(0, 0)] * (events.ndim - 2)
                padding = 0 if feature is HISTORY else np.nan
                inputs[feature.name] = np.pad(events, widths, constant_values=padding)
        np.testing.assert_allclose(np.asarray(model(inputs))[0], found[step], rtol=1e-4, atol=1e-5)


def test_one_step_is_the_equation():
    model = StackedLSTMClassifier(
        dataclasses.replace(PLAIN, context=[RATINGS]), hidden_units=(1,), embedding_dim=1,
        target_aware=False,
    )  # fmt: skip
    kernel = np.array([[1.0, 0.0, 2.0, 3.0]], "float32")  # write, forget, new, read
    model.recurrent[0].weights_of.kernel.assign(kernel)
    model.recurrent[0].weights_of.bias.assign([0.1, 0.0, 0.2, 0.3])
    model.output_layer.kernel.assign([[5.0]])
    model.output_layer.bias.assign([0.25])

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    state = sigmoid(1.5 + 0.3) * np.tanh(sigmoid(0.5 + 0.1) * np.tanh(1.0 + 0.2))
    inputs = {"user_id": np.array([2, 2]), "item_id": np.array([3, 3])}
    none = np.nan
    inputs["ratings"] = np.array([[0.5, none, none, none], [none] * 4], "float32")
    np.testing.assert_allclose(model(inputs), [5 * state + 0.25, 0.25], rtol=1e-5)


def test_events_of_zeros_count():
    model = MODELS["numbers"]
    inputs = random_inputs(DENSE, 1, seed=5)
    inputs["ratings"] = np.array([[1.0, np.nan, np.nan, np.nan]], "float32")
    inputs["pictures"] = np.where(
        np.isnan(inputs["ratings"])[..., None], np.nan, np.ones((1, 4, 2))
    )
    scores = []
    for zeros in range(4):
        inputs["ratings"][0, 1 : 1 + zeros] = 0
        scores.append(float(model(inputs)[0]))
    # One event and several are no more alike than two that differ.
    assert np.abs(np.diff(scores)).min() > 1e-4
    # As at training time, where `position` tells where a sequence ends.
    position = np.arange(4, dtype="int32")[None]
    packed = {n: v if n in ("ratings", "pictures") else v[:, None] for n, v in inputs.items()}
    packed["item_id"] = packed["item_id"].repeat(4, axis=1)
    np.testing.assert_allclose(model.step_logits(packed, position)[0], scores, rtol=1e-4, atol=1e-5)


def test_no_cudnn_op_is_traced_even_where_a_gpu_is_visible():
    inputs = {n: tf.constant(v) for n, v in random_inputs(FULL, 2).items()}
    graph = tf.function(MODELS["both"]).get_concrete_function(inputs).graph.as_graph_def()
    ops = {node.op for node in graph.node}
    ops |= {node.op for function in graph.library.function for node in function.node_def}
    assert "MatMul" in ops and not [op for op in ops if "cudnn" in op.lower() or "If" in op]


def test_what_comes_out():
    assert MODELS["both"].output_kind == "logit" and MODELS["classes"].output_kind == "logits"
    inputs = random_inputs(FULL, 3, candidates=5)
    assert MODELS["both"](inputs).shape == (3, 5)
    assert MODELS["classes"](inputs).shape == (3, 5, 3)
    blind = shaken(FULL, target_aware=False)
    assert np.ptp(np.asarray(blind(inputs)), axis=1).max() == 0


@pytest.mark.parametrize(
    ("schema", "arguments", "message"),
    [
        (PLAIN, {}, r"received \{\}. Add IdSequence\('history', of='item_id', max_length=50\)"),
        (
            dataclasses.replace(
                FULL, context=[RATINGS, dataclasses.replace(HISTORY, max_length=9)]
            ),
            {},
            r"one max_length; received \{'history': 9, 'ratings': 4\}",
        ),
        (FULL, {"hidden_units": ()}, "each of hidden_units .* received 0"),
        (FULL, {"num_classes": 0}, "num_classes .* received 0"),
        (FULL, {"cell": "rnn"}, r"one of 'gru', 'lstm'; received 'rnn'"),
    ],
)
def test_bad_arguments(schema, arguments, message):
    with pytest.raises(ValueError, match=message):
        StackedLSTMClassifier(schema, **arguments)


def test_an_event_with_any_number_is_an_event():
    """Wherever the gap is, and in whatever order the schema has its columns."""
    schema = dataclasses.replace(PLAIN, context=[RATINGS, PICTURES])
    model = StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(5,), target_aware=False)
    shake(model)
    empty = np.full((1, 4, 2), np.nan, np.float32)

    def score(rating, picture):
        ratings, pictures = np.float32([[1.5, rating, np.nan, np.nan]]), empty.copy()
        pictures[0, :2] = [[0.5, 1.5], picture]
        inputs = {"user_id": np.array([2]), "item_id": np.array([3])}
        return float(model({**inputs, "ratings": ratings, "pictures": pictures})[0])

    assert score(np.nan, [2.5, 3.5]) != score(np.nan, [9.5, 3.5])
    # Without any number there is no event.
    assert score(np.nan, [np.nan, np.nan]) == score(np.nan, [np.nan, np.nan])
    assert score(np.nan, [np.nan, np.nan]) != score(np.nan, [2.5, 3.5])
