"""By which figure an epoch is chosen, on which rows, and that it is that of the evaluation."""

import numpy as np
import pytest

from kerasrec import data, evaluation, models
from kerasrec.callbacks import LabelValidation, RankingValidation
from kerasrec.runs import validation
from kerasrec.runs.recipes import recipe
from kerasrec.runs.settings import Training
from kerasrec.runs.validation import validation_of

MSE, CLICKS, RANKING = Training(loss="mse"), Training(loss="log_loss"), Training(loss="softmax")


def mf(rows):
    return models.MatrixFactorization(rows.schema, embedding_dim=2)


def test_ratings_are_judged_by_their_error_within_the_scale(ready):
    model = mf(ready)
    watch, monitor, higher = validation_of(model, ready, MSE)
    assert isinstance(watch, LabelValidation) and (monitor, higher) == ("val_rmse", False)
    assert watch.clip == (2.0, 5.0)
    model.global_bias.assign([9.0])  # above the scale
    logs = logs_of(watch, model)
    errors = ready.valid["rating"] - 5.0
    assert logs["val_rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-4)


def test_ratings_that_are_all_alike_have_no_scale(rated):
    table = {name: rated.column(name) for name in rated.columns} | {"rating": np.full(240, 3.0)}
    rows = data.prepare(data.leave_last_out(data.Interactions.from_table(table)))
    watch, _, _ = validation_of(mf(rows), rows, MSE)
    assert watch.clip is None


def test_clicks_are_judged_by_the_order_of_the_positives(ready):
    model = mf(ready)
    watch, monitor, higher = validation_of(model, ready, CLICKS)
    assert isinstance(watch, LabelValidation) and (monitor, higher) == ("val_auc", True)
    liked = ready.valid["rating"] >= 4
    model.item_bias.embeddings.assign(np.zeros((22, 1)))
    odd = ready.vocabularies["item_id"].encode(np.arange(20)[1::2])
    bias = np.zeros((22, 1), np.float32)
    bias[odd] = -9.0  # even items are liked
    model.item_bias.embeddings.assign(bias)
    assert 0 < liked.sum() < len(liked)
    assert logs_of(watch, model)["val_auc"] == 1.0


def test_rankings_are_judged_as_in_the_evaluation(ready):
    model = mf(ready)
    watch, monitor, higher = validation_of(model, ready, RANKING)
    assert isinstance(watch, RankingValidation) and (monitor, higher) == ("val_ndcg@10", True)
    expected = evaluation.rank(model, ready.valid, seen=ready.train, k=10).summary()
    logs = logs_of(watch, model)
    assert logs["val_ndcg@10"] == pytest.approx(expected["ndcg@10"], abs=1e-12)


def test_a_catalogue_of_fewer_items_has_a_shorter_list(rated):
    table = {name: rated.column(name) for name in rated.columns}
    kept = table["item_id"] < 6
    few = data.Interactions.from_table({name: values[kept] for name, values in table.items()})
    rows = data.prepare(data.leave_last_out(few))
    assert validation_of(mf(rows), rows, RANKING)[1] == "val_ndcg@6"


def test_the_loss_decides_where_there_is_nothing_to_rank_or_no_two_classes(rated, with_history):
    by_loss = (None, "val_loss", False)
    liked = data.prepare(data.leave_last_out(rated))  # all ratings are positive
    assert validation_of(mf(liked), liked, CLICKS) == by_loss
    table = {name: rated.column(name) for name in rated.columns}
    split = data.predefined_split(
        data.Interactions.from_table({name: values[:200] for name, values in table.items()}),
        valid=data.Interactions.from_table(
            {name: values[:40] + 99 * (name == "item_id") for name, values in table.items()}
        ),
        test=data.Interactions.from_table({name: v[200:] for name, v in table.items()}),
    )
    unknown = data.prepare(split)
    assert validation_of(mf(unknown), unknown, RANKING) == by_loss
    several = models.StackedLSTMClassifier(
        with_history.schema, embedding_dim=2, hidden_units=(2,), num_classes=6
    )
    assert validation_of(several, with_history, CLICKS) == by_loss


def test_no_more_users_are_ranked_than_time_allows(ready, monkeypatch):
    monkeypatch.setattr(validation, "MAX_USERS", 5)
    one, other = (validation_of(mf(ready), ready, RANKING)[0].task.test for _ in range(2))
    assert len(np.unique(one["user_id"])) == 5
    np.testing.assert_array_equal(one["user_id"], other["user_id"])
    monkeypatch.setattr(validation, "MAX_USERS", 5000)
    monkeypatch.setattr(validation, "MAX_PAIRS", 0)  # 200 users all the same
    pairs = models.EmbeddingMLP(ready.schema, embedding_dim=2, hidden_units=(2,))
    users = validation_of(pairs, ready, RANKING)[0].task.test["user_id"]
    liked = ready.valid["rating"] >= 4
    assert set(users) == set(ready.valid["user_id"][liked])


def test_the_recipe_takes_it_before_the_best_epoch(ready):
    taken = recipe(mf(ready), ready, loss="mse", jit_compile=False)
    *_, watch, best = taken.callbacks
    assert isinstance(watch, LabelValidation)
    assert (best.monitor, best.higher) == ("val_rmse", False)


def test_without_validation_rows_there_is_nothing_to_watch(rated):
    rows = data.prepare(rated, positive=">=4")
    taken = recipe(mf(rows), rows, jit_compile=False)
    assert taken.valid is None and taken.callbacks[-1].monitor == ""
    assert not any(isinstance(one, RankingValidation) for one in taken.callbacks)


def logs_of(watch, model):
    watch.set_model(model)
    watch.set_params({"epochs": 1, "verbose": 0})
    watch.on_train_begin()
    logs = {}
    watch.on_epoch_end(0, logs)
    return logs
