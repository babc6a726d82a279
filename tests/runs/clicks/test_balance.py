"""Weights, shares and focal exponents: what is trained, and how logits become log odds again."""

import keras
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from kerasrec import data, models
from kerasrec.runs import Training, train
from kerasrec.runs.clicks.balance import WEIGHT, Balance
from kerasrec.runs.recipes import recipe
from kerasrec.schema import Categorical, Schema

FAST = {"epochs": 1, "jit_compile": False, "verbose": 0, "calibration": "none"}


def weighted_loss(x, rate, balance):
    """Expected loss of the logit x for rows of which this share is positive."""
    weight, share, gamma = balance.positive_weight, balance.negative_share, balance.focal_gamma
    p = expit(x)
    of_positive = weight * (1 - p) ** gamma * -np.log(p)
    of_other = share * p**gamma * -np.log1p(-p)
    return rate * of_positive + (1 - rate) * of_other


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.97])
@pytest.mark.parametrize(
    "options", [(7.0, 1.0, 0.0), (1.0, 0.1, 0.0), (1.0, 1.0, 2.0), (3.0, 0.25, 0.5)]
)
def test_the_corrected_minimum_is_the_share_of_positives(options, rate):
    balance = Balance(*options)
    best = minimize_scalar(
        weighted_loss, (-12, 12), args=(rate, balance), bounds=(-12, 12), options={"xatol": 1e-10}
    ).x
    assert balance.correction.probability(np.array(best)) == pytest.approx(rate, rel=1e-4)


def test_logits_of_a_focal_loss_at_the_ends():
    focal = Balance(focal_gamma=2.0).correction
    x = np.array([-1e4, -700.0, -40.0, 0.0, 40.0, 1e4])
    z = focal.log_odds(x)
    assert np.isfinite(z).all() and (np.diff(z) > 0).all() and z[3] == 0
    # Far out h(x) = (1 + gamma) x, but for log(1 + gamma).
    assert z[-1] == pytest.approx(3e4 - np.log(3))


def test_balanced_weights_and_shares_by_hand():
    labels = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0])  # 1 to 8
    balanced = Balance.of(Training(positive_weight="balanced"), labels)
    assert balanced == Balance(8.0)
    weights = balanced.weights(labels)
    assert weights.mean() == pytest.approx(1) and weights[0] == pytest.approx(weights[1:].sum())
    halved = Balance.of(Training(positive_weight="balanced", negative_share=0.5), labels)
    assert halved == Balance(4.0, 0.5)
    assert halved.correction.intercept == pytest.approx(np.log(0.5) - np.log(4))
    # An epoch holds 1 positive and 4 others, whose mean weight is 1.
    weights = halved.weights(labels)
    assert weights[0] + 4 * weights[1] == pytest.approx(5)
    # Validation rows are all there, so that the others weigh 0.5 each.
    weights = halved.weights(labels, sampled=False)
    assert weights[0] == pytest.approx(8 * weights[1]) and weights.mean() == pytest.approx(1)
    # At least one is kept.
    assert Balance.of(Training(negative_share=1e-9), labels).negative_share == 1 / 8
    assert Balance.of(Training(), labels) == Balance()


def coins(rows, rate):
    """Rows of one category that say nothing: only the rate can be learned."""
    y = (np.arange(rows) < rate * rows).astype(np.float32)
    schema = Schema(context=[Categorical("side", 4)], label="y")
    return schema, {"side": np.full(rows, 2, np.int32), "y": y}


def test_an_epoch_holds_the_share_drawn_anew():
    schema, columns = coins(100, 0.1)
    columns["side"] = np.arange(100).astype(np.int32) % 4
    columns["w"] = np.arange(100, dtype=np.float32) + 1  # names the row
    batches = data.pointwise(columns, schema, batch_size=8, negative_share=0.2, weight="w", seed=1)
    assert len(batches) == 4  # 10 + 18 rows
    epochs = []
    for _ in range(2):
        parts = list(batches)
        labels, rows = (np.concatenate([part[at] for part in parts]) for at in (1, 2))
        assert labels.sum() == 10 and len(rows) == 28 == len(np.unique(rows))
        assert set(rows[labels == 1]) == set(range(1, 11))
        epochs.append(set(rows))
    assert epochs[0] != epochs[1]
    in_order = data.pointwise(
        columns, schema, batch_size=8, negative_share=0.2, weight="w", shuffle=False
    )
    rows = np.concatenate([part[2] for part in in_order])
    assert (np.diff(rows) > 0).all()
    for share in (0, 1.5, np.nan):
        with pytest.raises(ValueError, match="negative_share must be a number above 0"):
            data.pointwise(columns, schema, batch_size=8, negative_share=share)


@pytest.fixture(scope="module")
def rare():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000).round(2)
    table = {"x": x, "y": (rng.random(2000) < expit(x - 2)).astype(int)}
    rows = data.Examples.from_table(table, label="y")
    return data.prepare_examples(data.split_examples(rows, valid=0.2, test=0.2))


@pytest.mark.parametrize(
    "options",
    [
        {"negative_share": 0.3},
        {"positive_weight": 2, "negative_share": 0.5, "focal_gamma": 2.0},
    ],
)
def test_a_trained_model_predicts_the_rate_of_all_rows(options, rare):
    keras.utils.set_random_seed(0)
    rare = data.prepare_examples(rare.split.train)  # no validation rows: the last epoch is kept
    model = models.LogisticRegression(rare.schema)
    choices = {"epochs": 10, "batch_size": 50, "learning_rate": 0.1}
    result = train(model, rare, **{**FAST, **choices}, **options)
    balance = Balance.of(Training(**options), rare.positives(rare.train))
    assert result.calibration == model.calibration == balance.correction
    logits = np.asarray(model({"x": rare.train["x"]}))
    rate = rare.positives(rare.train).mean()
    assert expit(logits).mean() > 1.5 * rate
    assert model.calibration.probability(logits).mean() == pytest.approx(rate, rel=0.1)


def test_the_line_is_fitted_to_corrected_logits(rare):
    model = models.LogisticRegression(rare.schema)
    result = train(model, rare, focal_gamma=1.0, **{**FAST, "calibration": "platt"})
    assert (result.calibration.method, result.calibration.focal_gamma) == ("platt", 1.0)
    rate = rare.positives(rare.valid).mean()
    logits = np.asarray(model({"x": rare.valid["x"]}))
    assert model.calibration.probability(logits).mean() == pytest.approx(rate, abs=0.01)
    assert logit(rate) < 0


def test_weights_are_a_column_of_their_own():
    labels = np.array([1.0, 0.0, 0.0])
    assert Balance().batch_options(labels, training=True) == ({}, {})
    columns, options = Balance(2.0, 0.5).batch_options(labels, training=True)
    assert set(columns) == {WEIGHT} and options == {"weight": WEIGHT, "negative_share": 0.5}
    columns, options = Balance(1.0, 0.5).batch_options(labels, training=False)
    assert set(columns) == {WEIGHT} and options == {"weight": WEIGHT}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"positive_weight": 0}, "positive_weight must be a finite number above 0"),
        ({"positive_weight": -1.0}, "positive_weight must be a finite number above 0"),
        ({"positive_weight": np.nan}, "positive_weight must be a finite number above 0"),
        ({"positive_weight": "even"}, "positive_weight must be a finite number above 0"),
        ({"negative_share": 0}, "negative_share must be a number above 0 and at most 1"),
        ({"negative_share": 1.1}, "negative_share must be a number above 0 and at most 1"),
        ({"negative_share": np.nan}, "negative_share must be a number above 0 and at most 1"),
        ({"focal_gamma": -0.1}, "focal_gamma must be a finite number of at least 0"),
        ({"focal_gamma": 2.0, "loss": "mse"}, "focal_gamma=2.0: it balances.*loss='mse'"),
    ],
)
def test_what_is_no_balance(choices, message, rare):
    with pytest.raises(ValueError, match=message):
        train(models.LogisticRegression(rare.schema), rare, **{**FAST, **choices})


def test_steps_of_histories_are_not_balanced(with_history):
    model = models.StackedLSTMClassifier(with_history.schema, hidden_units=(2,))
    with pytest.raises(ValueError, match="positive_weight=2.*received steps of histories"):
        recipe(model, with_history, positive_weight=2)
