import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from kerasrec import evaluation
from kerasrec.callbacks import RankingValidation, ranking_validation
from kerasrec.models import EmbeddingMLP, MatrixFactorization
from kerasrec.optimizers import Adam
from kerasrec.schema import Categorical, Schema
from kerasrec.training import SampledSoftmaxTrainer

USERS, ITEMS = 30, 24
SCHEMA = Schema(user=Categorical("user_id", USERS + 2), item=Categorical("item_id", ITEMS + 2))


def rows(per_user, seed):
    """Users like items of their own parity."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(2, USERS + 2), per_user)
    item = 2 + 2 * rng.integers(0, ITEMS // 2, len(user)) + user % 2
    return {"user_id": user.astype(np.int32), "item_id": item.astype(np.int32)}


TRAIN, VALID = rows(4, 0), rows(1, 1)


def fit(*callbacks, epochs=3, jit_compile=False, verbose=0, learning_rate=0.05, **options):
    model = MatrixFactorization(SCHEMA, embedding_dim=4)
    model.compile(keras.optimizers.Adam(learning_rate), "mse", jit_compile=jit_compile, **options)
    history = model.fit(
        TRAIN, np.ones(len(TRAIN["user_id"])), epochs=epochs, batch_size=60, verbose=verbose,
        callbacks=list(callbacks),
    )  # fmt: skip
    return model, history.history


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_logs_hold_the_figures_of_the_weights(jit_compile):
    model, history = fit(RankingValidation(VALID, seen=TRAIN, k=(1, 5)), jit_compile=jit_compile)
    expected = evaluation.rank(model, VALID, seen=TRAIN, k=(1, 5)).summary()
    for name in ("hr@1", "hr@5", "ndcg@5", "recall@5", "mrr"):
        assert len(history[f"val_{name}"]) == 3
        assert history[f"val_{name}"][-1] == pytest.approx(expected[name], abs=1e-12)
    assert history["val_mrr"][0] != history["val_mrr"][-1]


def test_the_layout_of_updates_does_not_show(monkeypatch):
    """Small tables are updated as a whole, large ones by rows."""
    figures = []
    for rows_per_id in (2**40, 0):
        monkeypatch.setattr("kerasrec.optimizers.rows.ROWS_PER_ID", rows_per_id)
        monkeypatch.setattr("kerasrec.optimizers.rows.ROWS_PER_ID_IN_XLA", rows_per_id)
        monkeypatch.setattr("kerasrec.optimizers.rows.SMALL_TABLE", rows_per_id)
        monkeypatch.setattr("kerasrec.optimizers.rows.SMALL_TABLE_IN_XLA", rows_per_id)
        keras.utils.set_random_seed(0)
        model = MatrixFactorization(SCHEMA, embedding_dim=4)
        model.compile(Adam(0.05), "mse")
        callback, vectors = RankingValidation(VALID, seen=TRAIN, k=5), []
        monkeypatch.setattr(
            ranking_validation,
            "rank",
            lambda ranked, *args, **kwargs: (
                vectors.append(np.array(ranked.user_vectors.embeddings))  # noqa: B023
                or evaluation.rank(ranked, *args, **kwargs)
            ),
        )
        labels = np.ones(len(TRAIN["user_id"]))
        model.fit(TRAIN, labels, epochs=2, batch_size=10, verbose=0, callbacks=[callback])
        figures.append(np.array(vectors))
    np.testing.assert_allclose(*figures, atol=1e-5)


@pytest.mark.parametrize("seen", [None, TRAIN, [TRAIN, rows(2, 5)]])
@pytest.mark.parametrize("unknown", [0, 3])
def test_blocks_of_users_add_up(seen, unknown, monkeypatch):
    monkeypatch.setattr(ranking_validation, "USERS_PER_BLOCK", 7)
    valid = {
        "user_id": np.r_[np.ones(unknown, np.int32), VALID["user_id"], VALID["user_id"][::3]],
        "item_id": np.r_[np.full(unknown, 2, np.int32), VALID["item_id"], TRAIN["item_id"][:10]],
    }
    callback = RankingValidation(valid, seen=seen)
    model, history = fit(callback, epochs=1)
    assert len(callback._blocks) == 4
    expected = evaluation.rank(model, valid, seen=seen).summary()
    assert history["val_ndcg@10"][0] == pytest.approx(expected["ndcg@10"], abs=1e-12)
    assert history["val_mrr"][0] == pytest.approx(expected["mrr"], abs=1e-12)


def test_given_candidates(monkeypatch):
    monkeypatch.setattr(ranking_validation, "USERS_PER_BLOCK", 10)
    candidates = np.tile(np.arange(2, 14, dtype=np.int32), (USERS, 1))
    model, history = fit(RankingValidation(VALID, seen=None, candidates=candidates), epochs=1)
    expected = evaluation.rank(model, VALID, seen=None, candidates=candidates).summary()
    assert history["val_hr@10"][0] == pytest.approx(expected["hr@10"], abs=1e-12)


def test_a_task_and_its_options(monkeypatch):
    monkeypatch.setattr(ranking_validation, "USERS_PER_BLOCK", 7)
    candidates = evaluation.Candidates(np.tile(np.arange(2, 14), (USERS, 1)), "drawn")
    for options in ({}, {"per": "row"}, {"drop_repeats": True}, {"candidates": candidates}):
        task = evaluation.RankingTask(VALID, TRAIN, k=5, **options)
        model, history = fit(RankingValidation(task), epochs=1)
        result = evaluation.rank(model, task)
        logged = {n.removeprefix("val_"): v[0] for n, v in history.items() if n.startswith("val_")}
        assert list(logged) == [name for name in result.values if name != "auc"]
        assert logged == pytest.approx({name: result[name] for name in logged}, abs=1e-12)
    assert RankingValidation(task, k=3).task.cutoffs == (3,)


class Scripted(RankingValidation):
    """Figures by turn, in place of those of a model."""

    def __init__(self, *figures, every=1):
        super().__init__(VALID, seen=TRAIN, every=every)
        self.figures, self.asked = list(figures), 0

    def rank(self):
        self.asked += 1
        return {"val_ndcg@10": self.figures[self.asked - 1]}


def test_skipped_epochs_repeat_the_last_figure():
    callback = Scripted(0.1, 0.2, 0.3, 0.4, every=3)
    _, history = fit(callback, epochs=9)  # ranked: 1, 4, 7 and the last, 9
    assert history["val_ndcg@10"] == [0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.4]
    callback.asked = 0
    _, history = fit(callback, epochs=2)  # a second fit begins anew
    assert history["val_ndcg@10"] == [0.1, 0.2]


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    stop = EarlyStopping("val_ndcg@10", mode="max", patience=2, restore_best_weights=True)
    path = str(tmp_path / "{epoch}.keras")
    save = ModelCheckpoint(path, monitor="val_ndcg@10", mode="max", save_best_only=True)
    model, history = fit(Scripted(0.1, 0.3, 0.2, 0.2, 0.9), stop, save, epochs=5)
    assert history["val_ndcg@10"] == [0.1, 0.3, 0.2, 0.2]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.keras", "2.keras"]
    best = keras.saving.load_model(tmp_path / "2.keras")
    np.testing.assert_array_equal(best(TRAIN), model(TRAIN))


def test_reduce_learning_rate_on_plateau():
    reduce = ReduceLROnPlateau("val_ndcg@10", mode="max", factor=0.5, patience=1)
    model, _ = fit(Scripted(0.3, 0.2, 0.4), reduce, learning_rate=0.08)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.04)


def test_patience_counts_skipped_epochs():
    stop = EarlyStopping("val_ndcg@10", mode="max", patience=2)
    _, history = fit(Scripted(0.1, 0.2, 0.3, every=2), stop, epochs=4)
    assert len(history["loss"]) == 4
    stop = EarlyStopping("val_ndcg@10", mode="max", patience=1)
    _, history = fit(Scripted(0.1, 0.2, 0.3, every=2), stop, epochs=4)
    assert len(history["loss"]) == 2


def test_stock_keras_names_a_wrong_order_name_or_mode():
    stop = EarlyStopping("val_ndcg@10", mode="max")
    with pytest.warns(UserWarning, match="val_ndcg@10` which is not available"):
        fit(stop, Scripted(0.1), epochs=1)
    with pytest.warns(UserWarning, match="val_ndgc@10` which is not available.*val_ndcg@10"):
        fit(Scripted(0.1), EarlyStopping("val_ndgc@10", mode="max"), epochs=1)
    with pytest.raises(ValueError, match="Pass `mode='max'`"):
        fit(Scripted(0.1), EarlyStopping("val_ndcg@10"), epochs=1)


def test_a_trainer_names_what_is_ranked():
    model = MatrixFactorization(SCHEMA, embedding_dim=4)
    trainer = SampledSoftmaxTrainer(model, negatives=8)
    trainer.compile(keras.optimizers.Adam(0.05))
    with pytest.raises(ValueError, match="SampledSoftmaxTrainer has no schema.*as `ranker`"):
        trainer.fit(TRAIN, verbose=0, callbacks=[RankingValidation(VALID, seen=TRAIN)])
    callback = RankingValidation(VALID, seen=TRAIN, ranker=model)
    history = trainer.fit(TRAIN, epochs=25, verbose=0, callbacks=[callback]).history
    assert history["val_ndcg@10"][-1] > history["val_ndcg@10"][0]


def test_a_model_that_scores_pairs():
    model = EmbeddingMLP(SCHEMA, embedding_dim=4, hidden_units=(4,))
    model.compile("adam", "mse")
    callback = RankingValidation(VALID, seen=TRAIN)
    history = model.fit(TRAIN, np.ones(120), verbose=0, callbacks=[callback]).history
    expected = evaluation.rank(model, VALID, seen=TRAIN).summary()
    assert history["val_ndcg@10"][0] == pytest.approx(expected["ndcg@10"], abs=1e-6)


def test_two_replicas():
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    with strategy.scope():
        model = MatrixFactorization(SCHEMA, embedding_dim=4)
        model.compile("adam", "mse")
    data = tf.data.Dataset.from_tensor_slices((TRAIN, np.ones(120, np.float32))).batch(60)
    callback = RankingValidation(VALID, seen=TRAIN)
    history = model.fit(data, epochs=2, verbose=0, callbacks=[callback]).history
    expected = evaluation.rank(model, VALID, seen=TRAIN).summary()
    assert history["val_ndcg@10"][-1] == pytest.approx(expected["ndcg@10"], abs=1e-6)


def test_the_progress_bar(monkeypatch, capsys):
    monkeypatch.setattr(ranking_validation, "USERS_PER_BLOCK", 10)
    for terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=terminal: shown)
        for verbose in (0, 1, 2):
            fit(RankingValidation(VALID, seen=TRAIN), epochs=1, verbose=verbose)
            found = capsys.readouterr()
            assert ("ranking blocks of users" in found.err) == (terminal and verbose == 1)
            assert ("val_ndcg@10" in found.out) == (verbose > 0)


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_every_is_refused(every):
    with pytest.raises(ValueError, match=f"every must be an integer of at least 1.*{every}"):
        RankingValidation(VALID, seen=TRAIN, every=every)


def test_rows_that_are_refused():
    empty = {name: values[:0] for name, values in VALID.items()}
    for nothing in ({}, empty):
        with pytest.raises(ValueError, match="expected encoded validation rows.*received none"):
            RankingValidation(nothing, seen=TRAIN)
    with pytest.raises(ValueError, match="received list"):
        RankingValidation([VALID], seen=TRAIN)
    with pytest.raises(ValueError, match="seen has no column 'user_id'; received"):
        fit(RankingValidation(VALID, seen={"item_id": TRAIN["item_id"]}))
    unknown = {**VALID, "user_id": np.ones(USERS, np.int32)}
    with pytest.raises(ValueError, match="have an unknown user"):
        fit(RankingValidation(unknown, seen=TRAIN))


def test_scores_that_are_not_numbers_name_the_model():
    with pytest.raises(ValueError, match="MatrixFactorization gave NaN for 100.00%"):
        fit(RankingValidation(VALID, seen=TRAIN), learning_rate=float("nan"))


def test_positives_alone_are_ranked(monkeypatch):
    """Among blocks of one user, those without a positive are none."""
    monkeypatch.setattr(ranking_validation, "USERS_PER_BLOCK", 1)
    label = (np.arange(len(VALID["user_id"])) % 3 == 0).astype(np.float32)
    model, history = fit(RankingValidation({**VALID, "label": label}, seen=TRAIN, k=5), epochs=1)
    chosen = {name: values[label > 0] for name, values in VALID.items()}
    expected = evaluation.rank(model, chosen, seen=TRAIN, k=5).summary()
    assert history["val_ndcg@5"][-1] == pytest.approx(expected["ndcg@5"], abs=1e-12)
    with pytest.raises(ValueError, match="none of .* rows has a 'label' >0"):
        fit(RankingValidation({**VALID, "label": label * 0}, seen=TRAIN, k=5), epochs=1)
