"""Optimizers by name: ours where there is one, and none that cannot do what is asked for."""

import inspect

import keras
import pytest

import kerasrec
from kerasrec.runs import Training
from kerasrec.runs.optimizer import OURS, STOCK, UNFIT, make_optimizer


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
    training = Training(optimizer=name.lower(), clipnorm=0.5, learning_rate=0.1, decay_rate=1.0)
    optimizer = make_optimizer(training, steps=10)
    assert type(optimizer) is getattr(kerasrec.optimizers, name) and optimizer.clipnorm == 0.5
    assert optimizer.get_config()["learning_rate"]["config"]["decay_steps"] == 300


@pytest.mark.parametrize("name", STOCK)
def test_those_of_keras_are_taken_without_clipping(name):
    optimizer = make_optimizer(Training(optimizer=name, learning_rate=0.25), steps=10)
    assert type(optimizer) is getattr(keras.optimizers, name)
    assert float(optimizer.learning_rate) == 0.25
    for clip in ("clipnorm", "clipvalue"):
        with pytest.raises(ValueError, match=f"{name} clips.*Leave {clip} out, or take.* adam, "):
            make_optimizer(Training(optimizer=name, **{clip: 1.0}), steps=10)


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
