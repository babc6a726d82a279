import numpy as np
import pytest
import scipy.stats

from kerasrec.data import Interactions, repeated_k_fold
from kerasrec.evaluation import cross_validate, nested_cross_validate
from kerasrec.evaluation.cross_validation import CrossValidation

ROWS = Interactions.from_table(
    {"user_id": np.arange(12) % 4, "item_id": np.arange(12) // 4, "rating": np.arange(12.0)},
    time=None,
)


def mean(split):
    error = split.test.column("rating") - split.train.column("rating").mean()
    return {"mae": float(abs(error).mean()), "rows": len(split.test)}


def median(split):
    error = split.test.column("rating") - np.median(split.train.column("rating"))
    return {"mae": float(abs(error).mean()), "rows": len(split.test)}


def test_every_model_meets_every_fold():
    splits = list(repeated_k_fold(ROWS, folds=3, repeats=2))
    found = cross_validate({"mean": mean, "median": median}, splits)
    assert found.values["median"]["mae"].tolist() == [median(split)["mae"] for split in splits]
    assert found.methods == tuple(split.method for split in splits)
    assert found.test_share == 4 / 8
    one = found.spreads()["mean"]["mae"]
    assert one.mean == pytest.approx(found.values["mean"]["mae"].mean())
    assert one.runs == 6
    assert list(found.values["mean"]) == ["mae"]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, float, np.array])
def test_floats_of_every_kind_count(kind):
    def constant(split):
        return {"x": kind(0.5), "rows": np.int64(3), "protocol": "full", "many": np.ones(2)}

    found = cross_validate({"m": constant}, repeated_k_fold(ROWS, folds=2, repeats=1))
    assert {name: values.tolist() for name, values in found.values["m"].items()} == {"x": [0.5] * 2}
    assert found.spreads()["m"]["x"].mean == 0.5


def test_corrected_t_by_hand():
    values = {"a": {"x": np.array([3.0, 5.0, 4.0])}, "b": {"x": np.array([1.0, 2.0, 3.0])}}
    # d = 2, 3, 1: mean 2, variance 1; t = 2 / sqrt(1/3 + 1/2), 2 degrees of freedom
    found = CrossValidation(values, ("1", "2", "3"), 0.5)
    t = 2 / np.sqrt(1 / 3 + 1 / 2)
    assert found.p("a", "b", "x") == pytest.approx(1 - t / np.sqrt(2 + t**2))
    assert found.p("b", "a", "x") == found.p("a", "b", "x")
    plain = CrossValidation(values, ("1", "2", "3"), 0.0).p("a", "b", "x")
    assert plain == pytest.approx(scipy.stats.ttest_rel(values["a"]["x"], values["b"]["x"]).pvalue)


def test_equal_and_constant_differences():
    values = {name: {"x": np.full(3, x)} for name, x in {"a": 1.0, "b": 1.0, "c": 2.0}.items()}
    found = CrossValidation(values, ("1", "2", "3"), 0.5)
    assert (found.p("a", "b", "x"), found.p("a", "c", "x")) == (1.0, 0.0)
    single = CrossValidation({"a": {"x": np.ones(1)}, "b": {"x": np.zeros(1)}}, ("1",), 0.5)
    assert np.isnan(single.p("a", "b", "x"))


def test_messages():
    def folds():
        return repeated_k_fold(ROWS, folds=2, repeats=1)

    with pytest.raises(ValueError, match="received 0 models and 2 folds"):
        cross_validate({}, folds())
    with pytest.raises(ValueError, match="received 1 models and 0 folds"):
        cross_validate({"mean": mean}, [])
    with pytest.raises(ValueError, match=r"other gave \['rmse'\] on fold 1"):
        cross_validate({"mean": mean, "other": lambda split: {"rmse": 1.0}}, folds())
    with pytest.raises(ValueError, match=r"expected the metrics \[\]"):
        cross_validate({"none": lambda split: {"rows": 3}}, folds())
    found = cross_validate({"mean": mean}, folds())
    with pytest.raises(ValueError, match="received 'mf' and 'mae'"):
        found.p("mf", "mean", "mae")


def scored(valid, test):
    """A model whose metrics are given by fold."""
    folds = iter(zip(valid, test, strict=True))

    def evaluated(split):
        on_valid, on_test = next(folds)
        return {"log_loss": on_valid}, {"log_loss": on_test, "rows": 3}

    return evaluated


def three():
    return repeated_k_fold(ROWS, folds=3, repeats=1)


def test_the_choice_is_made_without_the_test_rows():
    models = {
        "a": scored([0.5, 0.4, 0.3], [0.9, 0.2, 0.6]),
        "b": scored([0.4, 0.4, 0.5], [0.7, 0.1, 0.1]),
    }
    found = nested_cross_validate(models, three(), metric="log_loss")
    assert found.chosen == ("b", "a", "a")  # the first of equals
    assert found.times == {"a": 2, "b": 1}
    assert found.values["log_loss"].tolist() == [0.7, 0.2, 0.6]
    assert found.tested.values["a"]["log_loss"].tolist() == [0.9, 0.2, 0.6]
    interval = found.interval()
    error = np.sqrt(np.var([0.7, 0.2, 0.6], ddof=1) * (1 / 3 + 4 / 8))
    assert interval.mean == pytest.approx(0.5)
    assert interval.high - 0.5 == pytest.approx(scipy.stats.t.ppf(0.975, 2) * error)
    first, *others = found.rows()
    assert first == {"model": "as chosen", "chosen": 3, "log_loss": pytest.approx(0.5)}
    assert [(row["model"], row["chosen"]) for row in others] == [("a", 2), ("b", 1)]


def test_choosing_on_the_test_rows_would_be_too_good():
    rng = np.random.default_rng(0)
    models = {f"m{n}": scored(*rng.normal(1, 0.1, (2, 30))) for n in range(20)}
    found = nested_cross_validate(models, repeated_k_fold(ROWS, folds=3, repeats=10),
                                  metric="log_loss")  # fmt: skip
    assert found.interval().mean == pytest.approx(1, abs=0.06)
    best = np.min([values["log_loss"] for values in found.tested.values.values()], 0)
    assert best.mean() < 0.85


def test_messages_of_the_nested_choice():
    nan = {"a": scored([np.nan] * 3, [1.0] * 3)}
    with pytest.raises(ValueError, match="log_loss of the validation rows is NaN .* fold 1"):
        nested_cross_validate(nan, three(), metric="log_loss")
    with pytest.raises(ValueError, match="a gave no 'auc' .* expected one of \\['log_loss'\\]"):
        nested_cross_validate({"a": scored([1.0], [1.0])}, three(), metric="auc")
    with pytest.raises(ValueError, match="expected metric= one of .* received 'accuracy'"):
        nested_cross_validate({}, three(), metric="accuracy")
    found = nested_cross_validate({"a": scored([1.0] * 3, [1.0] * 3)}, three(), metric="log_loss")
    with pytest.raises(ValueError, match="expected one of \\['log_loss'\\]; received 'auc'"):
        found.interval("auc")
