import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import Vocabulary
from kerasrec.models import EASE, EmbeddingMLP, GRU4Rec, MatrixFactorization, Popularity, SASRec
from kerasrec.optimizers import Adam, rows
from kerasrec.schema import Categorical, IdSequence, Numeric, Schema
from kerasrec.training import Trainer, fit_model


class Weights(keras.callbacks.Callback):
    """What a callback such as EarlyStopping would keep at the end of each epoch."""

    def on_train_begin(self, logs=None):
        self.kept = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


def fit(optimizer):
    """A short training in which most users rest for most steps, and its weights by epoch."""
    keras.utils.set_random_seed(0)
    schema = Schema(user=Categorical("user_id", 40), item=Categorical("item_id", 30))
    model = MatrixFactorization(schema, embedding_dim=3)
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    columns = {"user_id": rng.integers(2, 40, 60), "item_id": rng.integers(2, 30, 60)}
    labels = rng.normal(size=60).astype("float32")
    weights = Weights()
    history = model.fit(
        columns,
        labels,
        batch_size=4,
        epochs=3,
        shuffle=False,
        validation_data=(columns, labels),
        callbacks=[weights],
        verbose=0,
    )
    return history.history["val_loss"], weights.kept, model


def test_validation_and_callbacks_see_the_same_in_each_layout_of_updates(monkeypatch):
    """Small tables are updated as a whole, large ones by rows."""
    losses, by_epoch, _ = fit(Adam(0.01))
    monkeypatch.setattr(rows, "ROWS_PER_ID", 0)
    monkeypatch.setattr(rows, "ROWS_PER_ID_IN_XLA", 0)
    monkeypatch.setattr(rows, "SMALL_TABLE", 0)
    monkeypatch.setattr(rows, "SMALL_TABLE_IN_XLA", 0)
    our_losses, ours_by_epoch, _ = fit(Adam(0.01))
    np.testing.assert_allclose(our_losses, losses, rtol=1e-5)
    for ours, theirs in zip(ours_by_epoch, by_epoch, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


class Settings(keras.callbacks.Callback):
    """What `fit` runs with, and how many calls there are."""

    counts_batches = False

    def on_train_begin(self, logs=None):
        self.seen = self.model.steps_per_execution, self.model.jit_compile
        self.calls = 0

    def on_train_batch_end(self, batch, logs=None):
        self.calls += 1


@pytest.fixture
def fit_long(monkeypatch):
    """Trainings count as long from 40 steps, not from 1,000."""
    monkeypatch.setattr(fit_model, "LONG_FIT", 40)
    return fit_steps


def fit_steps(rows=96, epochs=10, **options):
    """A `fit` of 4 steps an epoch; what it ran with, and its last loss."""
    keras.utils.set_random_seed(0)
    schema = Schema(user=Categorical("user_id", 12), item=Categorical("item_id", 9))
    model = MatrixFactorization(schema, embedding_dim=2)
    optimizer = options.pop("optimizer", None) or Adam(0.01, clipnorm=1.0)
    model.compile(optimizer, options.pop("loss", "mse"), **options)
    rng = np.random.default_rng(0)
    columns = {"user_id": rng.integers(2, 12, rows), "item_id": rng.integers(2, 9, rows)}
    labels = (columns["user_id"] % 2 == columns["item_id"] % 2).astype("float32")
    settings = Settings()
    history = model.fit(
        columns, labels, batch_size=24, epochs=epochs, verbose=0, callbacks=[settings]
    )
    return model, settings, history.history["loss"][-1]


def test_long_trainings_are_compiled_and_then_settings_are_as_before(fit_long):
    model, settings, loss = fit_long()
    assert settings.seen == (32, True)
    assert settings.calls == 10  # 4 steps an epoch are one call
    assert (model.steps_per_execution, model.jit_compile) == (1, False)
    _, plain, expected = fit_long(steps_per_execution=1, jit_compile=False)
    assert plain.seen == (1, False)
    assert plain.calls == 40
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 9}, (1, False)),
        ({"steps_per_execution": 2}, (2, True)),
        ({"jit_compile": False}, (32, False)),
        ({"optimizer": Adam(skip_nonfinite=True)}, (32, False)),
    ],
)
def test_what_was_asked_for_stays(fit_long, options, expected):
    _, settings, _ = fit_long(**options)
    assert settings.seen == expected


def test_the_choice_survives_saving(fit_long, tmp_path):
    model, _, _ = fit_long(epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    config = loaded.get_compile_config()
    assert (config["steps_per_execution"], config["jit_compile"]) == ("auto", "auto")


def test_a_loss_that_xla_cannot_compile_names_the_way_out(fit_long):
    def loss(y_true, y_pred):
        weight = tf.ensure_shape(tf.numpy_function(np.ones_like, [y_true], tf.float32), (None, 1))
        return weight * tf.square(y_pred - y_true)

    with pytest.raises(ValueError, match=r"(?s)MatrixFactorization: XLA.*jit_compile=False"):
        fit_long(loss=loss)


def test_steps_per_execution_must_be_a_number():
    with pytest.raises(ValueError, match="steps_per_execution must be an integer of at least 1"):
        fit_steps(steps_per_execution=0)


@pytest.mark.parametrize(
    ("x", "batch_size", "steps_per_epoch", "expected"),
    [
        ({"a": np.zeros(33)}, None, None, 2),
        ({"a": np.zeros(33)}, 33, None, 1),
        ({"a": np.zeros(33)}, 3, 5, 5),
        (tf.data.Dataset.range(7), None, None, 7),
        (tf.data.Dataset.range(7).repeat(), None, None, 0),
        (tf.data.Dataset.range(7).filter(lambda x: x > 1), None, None, 0),
        (iter([]), None, None, 0),
        (None, None, None, 0),
    ],
)
def test_steps_of_an_epoch(x, batch_size, steps_per_epoch, expected):
    assert fit_model._steps_of(x, batch_size, steps_per_epoch) == expected


def of(users, items):
    """A model of two users and three items, and their vocabularies."""
    vocabularies = {"user": Vocabulary.fit(users), "item": Vocabulary.fit(items)}
    features = {n: Categorical(n, v.num_ids, fingerprint=v.fingerprint) for n, v in
                vocabularies.items()}  # fmt: skip
    schema = Schema(user=features["user"], item=features["item"])
    return MatrixFactorization(schema, embedding_dim=2)


def test_weights_of_other_vocabularies_are_refused_by_name(tmp_path):
    ours, again, turned = of("ab", "xyz"), of("ab", "xyz"), of("ab", "zyx")
    file = tmp_path / "model.weights.h5"
    ours.save_weights(file)
    again.load_weights(file)
    for one, other in zip(again.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"weights of: other vocabularies of \['item'\]"):
        turned.load_weights(file)


@pytest.mark.parametrize("kind", [MatrixFactorization, EmbeddingMLP])
def test_weights_within_a_trainer_carry_their_vocabularies(kind, tmp_path):
    """Keras tries twice to load the model inside, which has weights of its own, or none."""
    file = tmp_path / "trainer.weights.h5"

    def trainer(users):
        return Trainer(kind(of(users, "xyz").schema))

    trainer("ab").save_weights(file)
    trainer("ab").load_weights(file)
    with pytest.raises(ValueError, match=r"other vocabularies of \['user'\]"):
        trainer("ba").load_weights(file)


def test_weights_without_fingerprints_are_taken(tmp_path):
    plain = Schema(user=Categorical("user", 4), item=Categorical("item", 5))
    model, file = MatrixFactorization(plain, embedding_dim=2), tmp_path / "model.weights.h5"
    model.save_weights(file)
    of("ab", "xyz").load_weights(file)
    of("ab", "xyz").save_weights(file)
    model.load_weights(file)


def test_a_saved_model_knows_its_vocabularies(tmp_path):
    model = of("ab", "xyz")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.schema == model.schema and len(again.schema.fingerprints) == 2


def test_models_keep_what_they_read_and_say_what_they_miss():
    history = IdSequence("history", of="item_id", max_length=3)
    schema = Schema(
        user=[Categorical("user_id", 9), Numeric("age"), history],
        item=[Categorical("item_id", 9), Numeric("price")],
        context=[Numeric("hour")],
    )
    read = {
        model: [feature.name for feature in model(schema).schema.features]
        for model in (Popularity, EASE, MatrixFactorization, SASRec, GRU4Rec, EmbeddingMLP)
    }
    every = [feature.name for feature in schema.features]
    assert read == {
        Popularity: ["user_id", "item_id"],
        EASE: ["user_id", "history", "item_id"],
        MatrixFactorization: ["user_id", "item_id"],
        SASRec: ["user_id", "history", "item_id"],
        GRU4Rec: ["user_id", "history", "item_id"],
        EmbeddingMLP: every,
    }
    with pytest.raises(ValueError, match=r"EmbeddingMLP needs a schema with item features.*'user'"):
        EmbeddingMLP(Schema(user=Categorical("user", 9)))
    with pytest.raises(ValueError, match="MatrixFactorization needs a schema with user features"):
        MatrixFactorization(Schema(item=Categorical("item", 9)))


def test_scales_are_saved_with_the_model(tmp_path):
    def schema(mean, deviation):
        price = Numeric("price", mean=mean, deviation=deviation)
        return Schema(Categorical("user", 9), [Categorical("item", 9), price])

    model = EmbeddingMLP(schema(20.0, 5.0), embedding_dim=2, hidden_units=(3,))
    raw = {"user": np.array([2, 3]), "item": np.array([4, 5]), "price": np.array([30.0, np.nan])}
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(raw), model(raw))
    plain = EmbeddingMLP(schema(0.0, 1.0), embedding_dim=2, hidden_units=(3,))
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(plain(raw | {"price": np.array([2.0, 0.0])}), model(raw), rtol=1e-6)
