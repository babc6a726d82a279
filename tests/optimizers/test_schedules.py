import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.optimizers import WarmUp, inverse_time_decay


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


STEPS = {"examples": 400, "batch_size": 100, "epochs": 5, "verbose": 0}  # 20 steps


def test_warm_up_by_hand():
    schedule = inverse_time_decay(0.3, decay_rate=2.0, warmup_steps=2, **STEPS)
    rates = [rate(schedule, step) for step in range(4)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.3 / (1 + 2 / 18)])
    assert rate(schedule, 20) == pytest.approx(0.1)


@given(
    st.floats(1e-4, 10), st.floats(0, 100), st.integers(0, 19), st.integers(0, 100), st.booleans()
)
def test_is_alpha_over_one_plus_beta_t_after_the_warm_up(alpha, decay_rate, warmup, step, stairs):
    options = {"decay_rate": decay_rate, "staircase": stairs, "warmup_steps": warmup}
    schedule = inverse_time_decay(alpha, **STEPS, **options)
    beta, t = decay_rate / (20 - warmup), step - warmup
    if stairs:
        t = 4 * (t // 4)  # an epoch has 4 steps
    expected = alpha * (step + 1) / (warmup + 1) if step < warmup else alpha / (1 + beta * t)
    assert rate(schedule, step) == pytest.approx(expected, rel=1e-5)


def test_warm_up_may_be_a_share_of_all_steps():
    share = inverse_time_decay(0.1, warmup_steps=0.25, **STEPS)
    count = inverse_time_decay(0.1, warmup_steps=np.int64(5), **STEPS)
    assert share.get_config() == count.get_config()
    assert share.warmup_steps == 5
    for none in (0, 0.0):
        stock = inverse_time_decay(0.1, warmup_steps=none, **STEPS)
        assert type(stock) is keras.optimizers.schedules.InverseTimeDecay


def test_warm_up_before_any_schedule():
    cosine = keras.optimizers.schedules.CosineDecay(0.4, 10)
    schedule = WarmUp(cosine, 3)
    rates = [rate(schedule, step) for step in (0, 2, 3, 8, 13, 50)]
    assert rates == pytest.approx([0.1, 0.3, 0.4, 0.2, 0, 0], abs=1e-7)


@pytest.mark.parametrize("inner", [0.2, keras.optimizers.schedules.InverseTimeDecay(0.2, 3, 1.0)])
def test_warm_up_travels_inside_a_stock_optimizer(inner):
    optimizer = keras.optimizers.Adam(WarmUp(inner, 4))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    weight = keras.Variable([1.0])
    for _ in range(3):
        again.apply([np.ones(1, "float32")], [weight])
    assert float(again.learning_rate) == pytest.approx(0.2 * 4 / 5)


@pytest.mark.parametrize("warmup_steps", [20, -1, 1.0, 2.5, -0.1, float("nan"), True])
def test_warm_up_must_leave_steps(warmup_steps):
    with pytest.raises(
        ValueError, match="warmup_steps must be an integer from 0 to 19; .*20 steps"
    ):
        inverse_time_decay(0.1, warmup_steps=warmup_steps, **STEPS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 3), "WarmUp: learning_rate must be a finite number above 0"),
        ((float("nan"), 3), "learning_rate must be"),
        (("fast", 3), "learning_rate must be"),
        ((True, 3), "learning_rate must be"),
        ((0.1, -1), "warmup_steps must be an integer of at least 0"),
        ((0.1, 2.5), "warmup_steps must be"),
    ],
)
def test_warm_up_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        WarmUp(*arguments)


def test_prints_what_it_derived(capsys):
    inverse_time_decay(0.1, examples=80_000, batch_size=1024, epochs=3)
    line = capsys.readouterr().out
    assert "80,000 examples / batch 1,024 = 79 steps an epoch, 237 in 3 epochs" in line
    assert "0.1 -> 0.05" in line
    inverse_time_decay(0.1, examples=80_000, batch_size=1024, epochs=3, warmup_steps=0.1)
    assert "237 in 3 epochs; 24 of them rising, learning rate" in capsys.readouterr().out


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
