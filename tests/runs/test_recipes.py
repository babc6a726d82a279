"""Each kind of model gets its recipe, and by hand it trains the same weights as in one call."""

import keras
import numpy as np
import pytest

import kerasrec
from kerasrec import callbacks, data, models, optimizers
from kerasrec.runs import Training, recipe, train
from kerasrec.runs.recipes import kind_of

SHORT = {"epochs": 2, "jit_compile": False, "learning_rate": 0.01}
PAIRS = {**SHORT, "batch_size": 64, "decay_rate": 0.0, "patience": 2}
ROWS = {**SHORT, "batch_size": 8, "decay_rate": 0.0, "patience": 2}
LSTM = {"embedding_dim": 4, "hidden_units": (8,)}
# The figure of the validation rows by which the best epoch is found.
RATED, CLICKED, RANKED = "val_rmse", "val_auc", "val_ndcg@10"
# Model, its arguments, choices, and the trainer, the loss and the figure that follow.
CASES = {
    "ratings": (
        "MatrixFactorization", {}, {**PAIRS, "loss": "mse"}, None, "MeanSquaredError", RATED),
    "clicks": (
        "EmbeddingMLP", {}, {**PAIRS, "loss": "log_loss"}, None, "BinaryCrossentropy", CLICKED),
    "drawn": (
        "EmbeddingMLP", {}, {**PAIRS, "loss": "binary_crossentropy"}, None, "BinaryCrossentropy",
        RANKED),
    "shared": (
        "EmbeddingMLP", {}, {**PAIRS, "loss": "softmax", "negatives": 8}, None,
        "SparseCategoricalCrossentropy", RANKED),
    "retrieval": (
        "MatrixFactorization", {}, {**PAIRS, "loss": "softmax"}, "SampledSoftmaxTrainer", None,
        RANKED),
    "graph": (
        "LightGCN", {}, {**PAIRS, "loss": "softmax"}, "GraphSoftmaxTrainer", None, RANKED),
    "graph constraint": (
        "MatrixFactorization", {"use_bias": False}, {**PAIRS, "loss": "graph_crossentropy"},
        "GraphCrossentropyTrainer", None, RANKED),
    "profiles": (
        "MultVAE", {"hidden_units": (8,)}, ROWS, "AutoencoderTrainer", None, RANKED),
    "sequence": ("SASRec", {"embedding_dim": 8}, ROWS, "NextItemTrainer", None, RANKED),
    "drawn sequence": ("GRU4Rec", {}, {**ROWS, "negatives": 4}, "NextItemTrainer", None, RANKED),
    "history of pairs": (
        "DIN", {"hidden_units": (8,)}, {**PAIRS, "loss": "binary_crossentropy"}, None,
        "BinaryCrossentropy", RANKED),
    "history of clicks": (
        "DIN", {"hidden_units": (8,)}, {**PAIRS, "loss": "log_loss"}, None, "BinaryCrossentropy",
        CLICKED),
    "stepwise": ("StackedLSTMClassifier", LSTM, ROWS, "StepwiseTrainer", None, CLICKED),
}  # fmt: skip


def made(name, rows, arguments):
    keras.utils.set_random_seed(0)
    return getattr(models, name)(rows.schema, **{"embedding_dim": 4, **arguments})


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            marks=pytest.mark.slow if trainer in ("NextItemTrainer", "StepwiseTrainer") else (),
        )
        for case, (*_, trainer, _, _) in CASES.items()
    ],
)
def test_by_hand_it_is_the_same_training(case, ready, with_history):
    name, arguments, choices, trainer, loss, figure = CASES[case]
    rows = with_history if kind_of(getattr(models, name)).histories else ready
    model = made(name, rows, arguments)
    result = train(model, rows, Training(**choices), verbose=0)
    assert {"loss", "val_loss", figure} <= set(result.history) and result.problem is None
    other = made(name, rows, arguments)
    taken = recipe(other, rows, **choices)
    assert type(taken.trainer).__name__ == (trainer or name)
    assert taken.callbacks[-1].monitor == figure
    assert taken.trainer is other or taken.trainer.model is other
    assert None is loss is taken.loss or type(taken.loss).__name__ == loss
    taken.trainer.compile(taken.optimizer, taken.loss, jit_compile=False)
    fitted = taken.trainer.fit(
        taken.batches,
        validation_data=taken.valid,
        epochs=2,
        callbacks=taken.callbacks,
        verbose=0,
    )
    assert fitted.history == result.history
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_recipe_it_is_the_same_training(ready):
    model = made("MatrixFactorization", ready, {})
    choices = {**PAIRS, "epochs": 4, "clipnorm": 1.0, "decay_rate": 1.0, "unknown_share": 0.0}
    choices |= {"loss": "binary_crossentropy", "negatives": 4, "valid_negatives": 9}
    result = train(model, ready, verbose=0, **choices)
    other = made("MatrixFactorization", ready, {})
    batches = data.with_negatives(ready.train, ready.schema, batch_size=64)
    valid = data.with_negatives(
        ready.valid, ready.schema, batch_size=64, negatives=9, seen=ready.train, shuffle=False
    )
    schedule = optimizers.inverse_time_decay(
        0.01, examples=len(batches), batch_size=1, epochs=4, verbose=0
    )
    other.compile(
        optimizers.Adam(schedule, clipnorm=1.0),
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    liked = ready.positives(ready.valid) > 0
    watch = callbacks.RankingValidation(
        {name: values[liked] for name, values in ready.valid.items()}, seen=ready.train
    )
    best = keras.callbacks.EarlyStopping(
        "val_ndcg@10", mode="max", patience=2, restore_best_weights=True
    )
    options = {"epochs": 4, "callbacks": [watch, best], "verbose": 0}
    history = other.fit(batches, validation_data=valid.cache(), **options).history
    assert history == result.history
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_a_classifier_of_histories_learns_labels_of_events_and_is_judged_by_held_out_ones(
    with_history,
):
    model = made("StackedLSTMClassifier", with_history, {**LSTM, "dropout": 0.0})
    choices = {**ROWS, "learning_rate": 0.03}
    valid = recipe(model, with_history, **choices).valid
    weights = np.concatenate([weight.numpy().ravel() for _, _, weight in valid])
    labels = np.concatenate([label.numpy().ravel() for _, label, _ in valid])
    assert weights.sum() == len(with_history.split.valid) == 30
    liked = with_history.positives(with_history.valid)
    assert labels[weights > 0].sum() == liked.sum()
    result = train(model, with_history, verbose=0, **{**choices, "epochs": 15, "patience": 15})
    assert min(result.history["val_loss"]) < 0.3 < 0.6 < result.history["val_loss"][0]
    figures = kerasrec.evaluation.click_metrics(model, {
        **with_history.test, "rating": with_history.positives(with_history.test)})  # fmt: skip
    assert figures["auc"] > 0.95


def test_several_classes_are_learned_as_they_are(rated):
    table = {name: rated.column(name) for name in rated.columns}
    table["rating"] = table["item_id"] % 3
    rows = data.prepare(data.Interactions.from_table(table), history=4)
    model = made("StackedLSTMClassifier", rows, {**LSTM, "num_classes": 3})
    taken = recipe(model, rows, **ROWS)
    assert taken.valid is None
    _, label, weight = next(iter(taken.batches))
    assert set(label.numpy()[weight.numpy() > 0]) == {0.0, 1.0, 2.0}
    assert train(model, rows, verbose=0, **ROWS).epochs == 2


def test_gradient_norms_are_recorded_where_they_are_asked_for(ready):
    kinds = [type(one).__name__ for one in recipe(made("MatrixFactorization", ready, {}),
             ready, gradient_interval=2).callbacks]  # fmt: skip
    assert kinds == ["TrainingDiagnostics", "GradientMonitor", "RankingValidation", "BestEpoch"]


@pytest.mark.parametrize(
    ("name", "choices", "message"),
    [
        ("SASRec", {"loss": "mse"}, "loss='mse': SASRec predicts the next item, not a label"),
        (
            "StackedLSTMClassifier",
            {"loss": "softmax"},
            "predicts the label of each event. Choose one of log_loss",
        ),
        ("LightGCN", {"loss": "mse"}, "LightGCN ranks by vectors .* Choose one of softmax"),
        (
            "MatrixFactorization",
            {"optimizer": "adem"},
            "'adem': there is no such optimizer",
        ),
        ("MatrixFactorization", {"epoch": 3}, r"no options \['epoch'\]; expected some of"),
        ("MatrixFactorization", {"batch_size": 0}, "batch_size must be"),
        ("MatrixFactorization", {"negatives": 0}, "negatives must be .* at least 1"),
        ("EmbeddingMLP", {"negatives": -1}, "negatives must be .* at least 0"),
        ("EmbeddingMLP", {"loss": "softmax", "negatives": 0}, "negatives must be .* at least 1"),
        ("MatrixFactorization", {"epochs": 0}, "epochs must be an integer of at least 1; .* 0"),
        ("MatrixFactorization", {"epochs": 1.5}, "epochs must be an integer of at least 1; .* 1.5"),
        ("MatrixFactorization", {"patience": -1}, "patience must be an integer of at least 0"),
        ("MatrixFactorization", {"learning_rate": float("nan")}, "learning_rate must be a finite"),
        ("MatrixFactorization", {"decay_rate": -1.0}, "decay_rate must be a finite number"),
    ],
)
def test_choices_that_do_not_suit_are_refused(name, choices, message, ready, with_history):
    rows = with_history if kind_of(getattr(models, name)).histories else ready
    with pytest.raises(ValueError, match=message):
        recipe(made(name, rows, {}), rows, **choices)


def test_a_model_of_another_schema_is_refused(ready, with_history):
    with pytest.raises(ValueError, match="another schema, or other vocabularies"):
        recipe(made("SASRec", with_history, {}), ready)


def test_a_model_may_read_less_than_there_is(rated):
    ids = np.unique(rated.column("item_id"))
    tables = {"items": {"item_id": ids, "price": ids + 0.5}}
    rows = data.prepare(data.leave_last_out(rated.with_tables(**tables)))
    features = next(iter(recipe(made("MatrixFactorization", rows, {}), rows, **PAIRS).batches))
    assert set(features) == {"user_id", "item_id"}
    shown = PAIRS | {"unknown_share": 0.0}
    for choices in (shown, shown | {"loss": "softmax", "negatives": 8}):
        features, _ = next(iter(recipe(made("EmbeddingMLP", rows, {}), rows, **choices).batches))
        prices = rows.items["price"][features["item_id"]]
        np.testing.assert_array_equal(features["price"], prices)


def test_a_history_is_read_with_the_table_of_the_items(rated):
    genres = [["a"], ["b", "c"], ["c"]]
    ids = np.unique(rated.table[rated.item]).tolist()
    table = {rated.item: ids, "genres": [genres[at % 3] for at in range(len(ids))]}
    split = data.leave_last_out(rated.with_tables(items=table))
    prepared = data.prepare(split, history=5)
    options = {"embedding_dim": 4, "history_features": ["genres"]}
    model = models.DIN(prepared.schema, **options)
    recipe(model, prepared, epochs=1)
    kept = model.item_features.kept["genres"].numpy()
    np.testing.assert_array_equal(kept, prepared.items["genres"])
    assert kept.any()


def test_labels_that_are_all_alike_are_refused(rated):
    rows = data.prepare(rated, history=4)
    with pytest.raises(ValueError, match="nothing to learn.*positive='>=4'"):
        recipe(made("StackedLSTMClassifier", rows, LSTM), rows)


@pytest.mark.parametrize("call", [recipe, train])
def test_rows_that_are_not_prepared_are_refused(call, ready):
    model = models.MatrixFactorization(ready.schema, embedding_dim=2)
    with pytest.raises(ValueError, match=r"ready must be what kerasrec.data.prepare.*Split\."):
        call(model, ready.split)
