"""Training in one call: what is printed, kept, continued and refused."""

import keras
import numpy as np
import pytest

from kerasrec import data, models
from kerasrec.runs import choose, fit, train
from kerasrec.runs.best_epoch import BestEpoch
from kerasrec.runs.epochs import Epochs

SHORT = {"epochs": 3, "jit_compile": False, "learning_rate": 0.01, "batch_size": 64}


def mf(rows):
    return models.MatrixFactorization(rows.schema, embedding_dim=4)


def test_a_line_an_epoch_or_nothing(ready, capsys):
    assert train(mf(ready), ready, **SHORT).epochs >= 1
    shown = capsys.readouterr()
    assert shown.out == "" and "epoch 1/3  loss " in shown.err
    assert "validation rows" not in shown.err
    train(mf(ready), ready, verbose=0, **SHORT)
    assert capsys.readouterr() == ("", "")


def test_a_training_that_was_best_at_once_says_what_helps(ready, capsys, monkeypatch):
    falling = iter((0.8, 0.6, 0.5))
    on_epoch_end = BestEpoch.on_epoch_end

    def fall(self, epoch, logs):
        logs[self.monitor] = next(falling)
        on_epoch_end(self, epoch, logs)

    monkeypatch.setattr(BestEpoch, "on_epoch_end", fall)
    result = train(mf(ready), ready, **SHORT)
    assert "was best after epoch 1 (0.8000) and 0.5000 after epoch 3" in result.overfit
    assert "--embedding_dim 2" in result.overfit and result.overfit in capsys.readouterr().err
    falling = iter((0.5, 0.6, 0.8))
    assert train(mf(ready), ready, verbose=0, **SHORT).overfit is None


def test_a_model_without_weights_to_train_counts(ready, capsys):
    model = models.Popularity(ready.schema)
    assert train(model, ready).history == {}
    assert "Popularity is computed from the rows" in capsys.readouterr().err
    liked = ready.positives(ready.train).astype(bool)
    counts = np.bincount(ready.train["item_id"][liked])
    pair = {"user_id": np.array([2]), "item_id": np.array([counts.argmax()])}
    assert float(model(pair)[0]) == counts.max()


def test_all_rows_are_trained_on_for_the_epochs_found(rated, capsys):
    whole = data.prepare(rated, positive=">=4")
    result = train(mf(whole), whole, refit_epochs=2, **SHORT)
    assert result.epochs == 2 and set(result.history) == {"loss"}
    assert "No validation rows" not in capsys.readouterr().err
    train(mf(whole), whole, **SHORT)
    assert "No validation rows: training runs for all epochs." in capsys.readouterr().err


def test_a_training_in_a_folder_is_continued(ready, tmp_path, monkeypatch):
    def broken(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("killed")

    keras.utils.set_random_seed(0)
    whole = train(mf(ready), ready, verbose=0, **SHORT)
    keras.utils.set_random_seed(0)
    monkeypatch.setattr(Epochs, "on_epoch_begin", broken)
    monkeypatch.setattr(Epochs, "on_epoch_end", lambda *_: None)
    with pytest.raises(RuntimeError, match="killed"):
        train(mf(ready), ready, folder=tmp_path, **SHORT)
    monkeypatch.undo()
    assert {file.name for file in tmp_path.iterdir()} == {"best-1.npz", "state.npz"}
    resumed = train(mf(ready), ready, folder=tmp_path, verbose=0, **SHORT)
    for name, values in whole.history.items():
        np.testing.assert_allclose(resumed.history[name], values, rtol=1e-5)
    assert resumed.epochs == whole.epochs


def test_an_interrupt_keeps_the_best_epoch(ready, monkeypatch, capsys):
    def broken(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Epochs, "on_epoch_begin", broken)
    monkeypatch.setattr(Epochs, "on_epoch_end", lambda *_: None)
    result = train(mf(ready), ready, **SHORT)
    assert result.problem == "Training was interrupted after epoch 2. Epoch 2 is kept."
    assert result.problem in capsys.readouterr().err and not result.diverged


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_training_that_diverges_keeps_the_epochs_before(epoch, ready, monkeypatch, capsys):
    def spoil(self, number, logs=None):
        if number == epoch:
            weight = self.model.trainable_variables[0]
            weight.assign(np.full(weight.shape, np.nan, np.float32))

    monkeypatch.setattr(Epochs, "on_epoch_begin", spoil)
    monkeypatch.setattr(Epochs, "on_epoch_end", lambda *_: None)
    model = mf(ready)
    if not epoch:
        with pytest.raises(ValueError, match="stopped at step 1.*no weights are kept"):
            train(model, ready, **SHORT)
        return
    result = train(model, ready, **SHORT)
    assert result.diverged and "The weights after epoch 1 are kept" in result.problem
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_fit_chooses_makes_and_trains(ready, capsys):
    found = fit("SASRec", ready, max_length=4, arguments={"embedding_dim": 8}, **SHORT)
    assert found.choices.describe() in capsys.readouterr().err
    settings = {"max_length": 4, "embedding_dim": 8, "num_heads": 2, **SHORT}
    assert found.choices.settings.items() >= settings.items()
    assert found.ready.schema.item_histories[0].max_length == 4
    assert found.model.schema == found.ready.schema and found.result.epochs >= 1


def test_fit_with_a_budget_searches_first(ready, monkeypatch, capsys):
    asked = []

    def search(model, rows, training, *, budget, verbose, **about):
        asked.append((model, rows is ready, budget, about["arguments"]))
        return choose(model, rows, training, **about)

    monkeypatch.setattr("kerasrec.runs._train.search", search)
    given = {"arguments": {"embedding_dim": 4}, "verbose": 0}
    found = fit("MatrixFactorization", ready, budget="9s", **given, **SHORT)
    assert asked == [("MatrixFactorization", True, "9s", {"embedding_dim": 4})]
    assert found.result.epochs >= 1 and capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "choices", "message"),
    [
        ("SASrec", {}, "model='SASrec': there is no such model"),
        ("SASRec", {"loss": "mse"}, "loss='mse': SASRec predicts the next item"),
        ("NeuMF", {"budget": "soon"}, "budget='soon': expected a time above 0"),
        ("NeuMF", {"epoch": 3}, r"no options \['epoch'\]"),
    ],
)
def test_what_fit_refuses_before_it_trains(name, choices, message, ready, capsys):
    with pytest.raises(ValueError, match=message):
        fit(name, ready, **choices)
    assert capsys.readouterr().err == ""


def test_weights_that_break_in_the_last_step_of_an_epoch_are_not_kept():
    """The loss of the epoch is finite, its last update is not."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    class Break(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.set_weights([weight * np.nan for weight in self.model.get_weights()])
                self.model.stop_training = True

    best, rows = BestEpoch(patience=0), np.ones((4, 1))
    model.fit(rows, rows, epochs=3, verbose=0, callbacks=[Break(), best])
    assert best.best_epoch == 0
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_users_who_have_had_all_items_are_left_out_of_drawing(capsys):
    """One of 30 users has all 12 items, as after a training on all rows."""
    rng = np.random.default_rng(0)
    some = [rng.permutation(12)[:5] for _ in range(29)]
    users = np.concatenate([np.repeat(np.arange(29), 5), np.full(12, 99)])
    items = np.concatenate([*some, np.arange(12)])
    ready = data.prepare(
        data.Interactions.from_table({"user_id": users, "item_id": items}, label=None, time=None)
    )
    model = models.EmbeddingMLP(ready.schema, embedding_dim=4, hidden_units=(8,))
    assert np.isfinite(train(model, ready, **SHORT | {"epochs": 1}).history["loss"]).all()
    assert "1 users have had all 12 items: their rows are left out." in capsys.readouterr().err


def test_unknown_users_are_not_one_user_who_has_had_all_items(rated, capsys):
    """Most users have fewer rows than `min_count`, and share an id."""
    users = np.concatenate([np.repeat(np.arange(20), 3), np.repeat([98, 99], 5)])
    items = np.concatenate([np.arange(60) % 10, np.arange(10)])
    table = {"user_id": users, "item_id": items}
    ready = data.prepare(data.Interactions.from_table(table, label=None, time=None), min_count=4)
    model = models.EmbeddingMLP(ready.schema, embedding_dim=4, hidden_units=(8,))
    train(model, ready, **SHORT | {"epochs": 1})
    assert "left out" not in capsys.readouterr().err


def test_a_computed_model_of_other_vocabularies_is_refused(ready, rated):
    other = data.prepare(data.leave_last_out(rated.take(np.arange(80))))
    with pytest.raises(ValueError, match="another schema"):
        train(models.EASE(other.schema), ready)
