import keras
import numpy as np
import pytest

from kerasrec.optimizers import inverse_time_decay


def rate(schedule, step):
    return float(schedule(step))


def test_steps_come_from_examples_batch_and_epochs():
    schedule = inverse_time_decay(0.1, examples=1001, batch_size=100, epochs=5, verbose=0)
    assert schedule.decay_steps == 11 * 5  # the last batch of 1 row is a step too


def test_the_equation_by_hand():
    schedule = inverse_time_decay(
        0.3, examples=400, batch_size=100, epochs=5, decay_rate=2.0, verbose=0
    )
    assert rate(schedule, 0) == pytest.approx(0.3)
    assert rate(schedule, 10) == pytest.approx(0.3 / (1 + 2 * 10 / 20))
    assert rate(schedule, 20) == pytest.approx(0.1)


def test_is_alpha_over_one_plus_beta_t():
    alpha, beta = 0.2, 3.0 / 60
    schedule = inverse_time_decay(
        alpha, examples=60, batch_size=10, epochs=10, decay_rate=3.0, verbose=0
    )
    for t in (0, 1, 17, 60, 600):
        assert rate(schedule, t) == pytest.approx(alpha / (1 + beta * t), rel=1e-6)


def test_staircase_falls_once_an_epoch_to_the_same_end():
    kwargs = {"examples": 400, "batch_size": 100, "epochs": 5, "decay_rate": 1.0, "verbose": 0}
    stairs = inverse_time_decay(0.1, staircase=True, **kwargs)
    smooth = inverse_time_decay(0.1, **kwargs)
    assert [rate(stairs, s) for s in range(4)] == [rate(stairs, 0)] * 4
    assert rate(stairs, 4) < rate(stairs, 3)
    for epoch in range(6):
        assert rate(stairs, 4 * epoch) == pytest.approx(rate(smooth, 4 * epoch))


def test_prints_what_it_derived(capsys):
    inverse_time_decay(0.1, examples=80_000, batch_size=1024, epochs=3)
    line = capsys.readouterr().out
    assert "80,000 examples / batch 1,024 = 79 steps an epoch, 237 in 3 epochs" in line
    assert "0.1 -> 0.05" in line


def test_travels_inside_a_stock_optimizer():
    schedule = inverse_time_decay(0.1, examples=np.int64(10), batch_size=5, epochs=2, verbose=0)
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert rate(again._learning_rate, 4) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("examples", 0),
        ("examples", 10.5),
        ("batch_size", -1),
        ("batch_size", True),
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("decay_rate", -1.0),
        ("decay_rate", float("inf")),
    ],
)
def test_bad_arguments_are_named(argument, value):
    arguments = {"learning_rate": 0.1, "examples": 10, "batch_size": 5, "epochs": 2}
    arguments[argument] = value
    with pytest.raises(ValueError, match=argument):
        inverse_time_decay(arguments.pop("learning_rate"), **arguments)
