"""Optimizers by name: ours where there is one, and none that cannot do what is asked for."""

import inspect

import keras
import numpy as np
import pytest

import kerasrec
from kerasrec import models
from kerasrec.runs import Training, recipe, train
from kerasrec.runs.optimizer import OURS, STOCK, UNFIT, make_optimizer
from kerasrec.runs.recipes import kind_of
from kerasrec.runs.settings import choices_of


def classes(module, names):
    kinds = {name: getattr(module, name) for name in names}
    return {
        name
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    }


def test_every_optimizer_there_is_has_been_decided_on():
    ours = classes(kerasrec.optimizers, kerasrec.optimizers.__all__)
    assert set(OURS) == ours
    assert set(STOCK) | set(UNFIT) == classes(keras.optimizers, vars(keras.optimizers)) - ours


def test_the_help_lists_ours_first_and_then_those_of_keras():
    text = " ".join(inspect.getdoc(Training).split())
    text = text[text.index("optimizer: ") : text.index(" learning_rate: ")]
    named = [word.strip(",.;:") for word in text.split()]
    names = [name.lower() for name in (*OURS, *STOCK)]
    assert [word for word in named if word in names] == names


@pytest.mark.parametrize("name", OURS)
def test_ours_take_all_choices(name):
    options = {"clipnorm": 0.5, "learning_rate": 0.1, "decay_rate": 1.0, "epochs": 30}
    training = Training(optimizer=name.lower(), **options)
    optimizer = make_optimizer(training, steps=10)
    assert type(optimizer) is getattr(kerasrec.optimizers, name) and optimizer.clipnorm == 0.5
    assert optimizer.get_config()["learning_rate"]["config"]["decay_steps"] == 300


def test_a_linear_decay_ends_at_the_same_rate():
    options = {"learning_rate": 0.3, "decay_rate": 2.0, "epochs": 4, "warmup_steps": 2}
    rates = [
        make_optimizer(Training(decay=decay, **options), steps=3).get_config()["learning_rate"]
        for decay in ("linear", "inverse_time")
    ]
    linear, inverse = map(keras.optimizers.schedules.deserialize, rates)
    # 12 steps: two of warm-up, then from 0.3 to 0.1 in ten.
    found = [float(linear(step)) for step in (0, 2, 7, 12)]
    assert found == pytest.approx([0.1, 0.3, 0.2, 0.1])
    assert float(inverse(12)) == pytest.approx(0.1) and float(inverse(7)) == pytest.approx(0.15)


def test_an_unknown_decay_is_refused():
    with pytest.raises(ValueError, match="decay must be one of 'inverse_time', 'linear', None"):
        choices_of(None, {"decay": "cosine"})


@pytest.mark.parametrize("name", STOCK)
def test_those_of_keras_are_taken_without_clipping(name):
    optimizer = make_optimizer(Training(optimizer=name, learning_rate=0.25), steps=10)
    assert type(optimizer) is getattr(keras.optimizers, name)
    assert float(optimizer.learning_rate) == 0.25
    for clip in ("clipnorm", "clipvalue"):
        with pytest.raises(ValueError, match=f"{name} clips.*Leave {clip} out, or take.* adam, "):
            make_optimizer(Training(optimizer=name, **{clip: 1.0}), steps=10)


def test_an_optimizer_that_fails_on_replicas_is_for_one_device():
    training = Training(optimizer="schedulefreeadamw", learning_rate=0.1)
    assert make_optimizer(training, steps=10)
    with pytest.raises(ValueError, match="Train on one, or take one of adam"):
        make_optimizer(training, steps=10, replicas=2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("multioptimizer", "MultiOptimizer of Keras needs an optimizer for each group.*Take adam"),
        ("LossScaleOptimizer", "LossScaleOptimizer of Keras wraps another optimizer"),
        ("optimizer", "Optimizer of Keras is the base class"),
        ("adem", "'adem': there is no such optimizer; expected one of adam, .* of Keras one of"),
        (None, "there is no such optimizer"),
    ],
)
def test_what_cannot_train_is_refused_by_name(name, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(Training(optimizer=name), steps=10)


@pytest.mark.parametrize("clip", ["clipvalue", "global_clipnorm"])
def test_another_clip_takes_the_place_of_the_one_that_the_rules_choose(clip, ready):
    model = models.MatrixFactorization(ready.schema, embedding_dim=4)
    made = recipe(model, ready, **{clip: 0.25})
    assert (made.optimizer.clipnorm, getattr(made.optimizer, clip)) == (None, 0.25)


@pytest.mark.parametrize("name", [*OURS, "RMSprop"])
def test_batches_may_be_accumulated(name):
    made = make_optimizer(
        Training(optimizer=name, learning_rate=0.1, gradient_accumulation_steps=4), steps=10
    )
    assert made.gradient_accumulation_steps == 4
    for every in (None, 1):
        alone = Training(optimizer=name, learning_rate=0.1, gradient_accumulation_steps=every)
        assert make_optimizer(alone, steps=10).gradient_accumulation_steps is None
    with pytest.raises(ValueError, match="gradient_accumulation_steps must be .* at least 1"):
        choices_of(None, {"gradient_accumulation_steps": 0})


# A table of another trainer has a dense gradient: then the whole of it is bounded.
BOUNDED = {
    "MatrixFactorization": ({"loss": "mse"}, {}),
    "EmbeddingMLP": ({}, {"hidden_units": (8,)}),
    "SASRec": ({}, {}),
    "StackedLSTMClassifier": ({}, {"hidden_units": (8,)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_weights_are_bounded_whatever_their_gradients(name, optimizer, ready, with_history):
    choices, arguments = BOUNDED[name]
    rows = with_history if kind_of(getattr(models, name)).histories else ready
    shared = {**choices, "optimizer": optimizer, "learning_rate": 5.0, "jit_compile": False}
    shared |= {"epochs": 2, "batch_size": 16, "unknown_share": 0.0, "verbose": 0}

    def trained(**bound):
        keras.utils.set_random_seed(0)
        model = getattr(models, name)(rows.schema, embedding_dim=4, **arguments)
        train(model, rows, **shared, **bound)
        return model.trainable_variables

    def vectors(weights):
        """Tables with their rows last, and kernels with the weights of an output last."""
        for weight in weights:
            values, table = weight.numpy(), weight.name == "embeddings"
            if values.ndim > 1 and "bias" not in weight.name and not (table and len(values.T) == 1):
                yield values if table else values.reshape(-1, values.shape[-1]).T

    largest = [np.abs(values).max() for values in vectors(trained(clip_weights=0.3))]
    assert 0.29 < max(largest) <= 0.3 + 1e-6
    largest = [np.linalg.norm(one, axis=1).max() for one in vectors(trained(max_norm=0.5))]
    assert 0.49 < max(largest) <= 0.5 + 1e-5


def test_biases_stay_free(ready):
    model = models.MatrixFactorization(ready.schema, embedding_dim=4)
    recipe(model, ready, clip_weights=0.1)
    bounded = [weight.path.split("/")[-2] for weight in model.weights if weight.constraint]
    assert bounded == ["user_vectors", "item_vectors"]


@pytest.mark.parametrize("name", ["MatrixFactorization", "EmbeddingMLP", "SASRec"])
def test_all_rows_of_tables_are_penalised_whatever_the_trainer(name, ready, with_history):
    """Rows that no batch holds shrink too, such as that of padding; without it they stay."""
    rows = with_history if kind_of(getattr(models, name)).histories else ready
    shared = {"optimizer": "sgd", "learning_rate": 0.5, "decay_rate": 0.0, "jit_compile": False}
    shared |= {"epochs": 1, "batch_size": 64, "verbose": 0, "warmup_steps": 0, "clipnorm": 0.0}

    def padding(**penalty):
        keras.utils.set_random_seed(0)
        model = getattr(models, name)(rows.schema, embedding_dim=4)
        table = next(v for v in model.trainable_variables if v.name == "embeddings")
        table.assign(keras.ops.ones(table.shape))
        train(model, rows, **shared, **penalty)
        return table.numpy()[0]

    np.testing.assert_array_equal(padding(), np.ones(4))
    shrunk = padding(table_l2=0.1)
    assert (shrunk < 0.95).all() and np.ptp(shrunk) < 1e-6


def test_the_penalty_by_hand(ready):
    """The penalty is the weight times the sum of squares of both tables."""
    model = models.MatrixFactorization(ready.schema, embedding_dim=4)
    made = recipe(model, ready, table_l2=0.25, loss="mse", unknown_share=0.0)
    tables = [v for v in model.trainable_variables if v.name == "embeddings"]
    squares = sum(float((v.numpy() ** 2).sum()) for v in tables)
    assert float(sum(made.trainer.losses)) == pytest.approx(0.25 * squares, rel=1e-5)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"table_l2": -0.1}, "table_l2 must be a finite number of at least 0"),
        ({"max_norm": 0.0}, "max_norm must be a finite number above 0.*Leave it out"),
        ({"clip_weights": float("nan")}, "clip_weights must be a finite number above 0"),
        ({"clip_weights": 1.0, "max_norm": 1.0}, "only one of clip_weights, max_norm can be set"),
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "Only one of .clipnorm., .clipvalue."),
        ({"optimizer": "lion", "global_clipnorm": 1.0}, "Leave global_clipnorm out"),
    ],
)
def test_bounds_that_do_not_make_sense_are_refused(choices, message, ready):
    model = models.MatrixFactorization(ready.schema, embedding_dim=4)
    with pytest.raises(ValueError, match=message):
        recipe(model, ready, **choices)
