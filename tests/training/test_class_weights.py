"""Class weights by element, where labels have an axis of candidates or steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec import data
from kerasrec.models import MatrixFactorization
from kerasrec.schema import Categorical, Schema
from kerasrec.training.class_weights import by_element, losses_by_element

SCHEMA = Schema(user=Categorical("user", 12), item=Categorical("item", 30))
LOSS = keras.losses.BinaryCrossentropy(from_logits=True)


def made(**options):
    keras.utils.set_random_seed(0)
    model = MatrixFactorization(SCHEMA, embedding_dim=2)
    # A learning rate of 0: the loss of `fit` is that of these weights.
    options = {"optimizer": keras.optimizers.SGD(0.0), "loss": LOSS, **options}
    model.compile(**options)
    return model


def with_negatives(negatives=3):
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(2, 12, 20), "item": rng.integers(2, 30, 20)}
    rows = {name: values.astype("int32") for name, values in rows.items()}
    return data.with_negatives(rows, SCHEMA, batch_size=32, negatives=negatives).cache()


def expected_loss(model, batches, weights, given=1.0):
    """Mean over all labels of weight times loss, written out."""
    total = count = 0
    for x, y in batches:
        z = np.asarray(model(x), "float64")
        y = y.numpy()
        losses = np.logaddexp(0, z) - z * y
        total += float(np.sum(losses * np.vectorize(weights.get)(y.astype(int)) * given))
        count += y.size
    return total / count


@pytest.mark.parametrize("negatives", [1, 3])
def test_each_label_has_the_weight_of_its_class(negatives):
    model, batches, weights = made(), with_negatives(negatives), {0: 1.0, 1: 1000.0}
    history = model.fit(batches, verbose=0, class_weight=weights)
    expected = expected_loss(model, batches, weights)
    assert expected > 100
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-4)


def test_arrays_too_and_times_the_weight_of_a_row():
    model, weights = made(weighted_metrics=["mse"]), {0: 2.0, 1: 5.0}
    (x, y) = next(iter(with_negatives()))
    x = {name: values.numpy() for name, values in x.items()}
    row = np.linspace(0.5, 2, len(y)).astype("float32")
    options = {"batch_size": len(y), "verbose": 0, "class_weight": weights}
    history = model.fit(x, y.numpy(), sample_weight=row, **options).history
    expected = expected_loss(model, [(x, y)], weights, row[:, None])
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    each = np.where(y.numpy() == 1, 5.0, 2.0) * row[:, None]
    error = np.sum((np.asarray(model(x)) - y.numpy()) ** 2 * each) / each.sum()
    assert history["mse"][0] == pytest.approx(error, rel=1e-5)


def test_weights_of_each_label_in_the_data():
    model = made()
    weighted = with_negatives().map(lambda x, y: (x, y, 1.0 + 999.0 * y))
    history = model.fit(weighted, verbose=0)
    expected = expected_loss(model, with_negatives(), {0: 1.0, 1: 1000.0})
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-4)


def test_labels_of_a_row_each_are_left_to_keras():
    weights = {0: 1.0, 1: 7.0}
    for label in (np.array([0, 1, 1.0]), np.array([[0], [1], [1.0]])):
        options = {"x": np.ones(3), "y": label, "sample_weight": None, "class_weight": weights}
        assert by_element(options, LOSS) is options
    one_hot = {**options, "y": np.eye(3)}
    for loss in ("categorical_crossentropy", keras.losses.CategoricalFocalCrossentropy()):
        assert by_element(one_hot, loss) is one_hot
    found = by_element(
        {**options, "y": np.array([[0, 2], [1, 9]])}, "sparse_categorical_crossentropy"
    )
    assert found["sample_weight"].tolist() == [[1, 1], [7, 1]]


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return {"user": np.full(2, 3), "item": np.full((2, 4), 5)}, np.eye(2, 4)


def test_data_that_take_no_weights_are_refused():
    with pytest.raises(
        ValueError, match=r"(?s)labels \(2, 4\) is by element.*Return \(features, l"
    ):
        made().fit(Rows(), verbose=0, class_weight={0: 1.0, 1: 2.0})
    for wrong in ({"a": 1.0}, {-1: 1.0}, [1.0, 2.0]):
        with pytest.raises(ValueError, match="class_weight must be a dict of a weight for each cl"):
            made().fit(with_negatives(), verbose=0, class_weight=wrong)


@settings(max_examples=30)
@given(
    st.integers(1, 4),
    st.integers(2, 5),
    st.integers(0, 2**31),
    st.sampled_from([None, "row", "el"]),
)
def test_by_element_is_what_numpy_says(rows, width, seed, kind):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (rows, width)).astype("float32")
    given = {None: None, "row": rng.random(rows), "el": rng.random((rows, width))}[kind]
    weights = {0: 0.5, 2: 3.0}
    options = {"x": None, "y": label, "sample_weight": given, "class_weight": weights}
    found = by_element(options, "mse")["sample_weight"]
    expected = np.vectorize(lambda c: weights.get(int(c), 1.0))(label)
    if given is not None:
        expected = expected * (given[:, None] if kind == "row" else given)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_other_shapes_stay_as_they_are():
    y, scores = np.ones((2, 3)), np.ones((2, 3, 7))
    assert losses_by_element(y, scores, np.ones((2, 3)))[1] is scores
    assert losses_by_element(y, y, None)[0] is y
    assert losses_by_element(y, y, np.ones(2))[0] is y
    assert losses_by_element(y, y, np.ones((2, 3)))[0].shape == (2, 3, 1)


def test_a_dataset_keeps_its_part():
    dataset = tf.data.Dataset.from_tensors((np.ones((2, 2)), np.eye(2)))
    dataset.part = "mine"
    options = {"x": dataset, "y": None, "sample_weight": None, "class_weight": {0: 1.0}}
    assert by_element(options, "mse")["x"].part == "mine"


def test_a_weight_column_beside_negatives():
    """Each group has the weight of its positive, and class weights are multiplied by it."""
    positives = {
        "user": np.array([2, 3, 4], "int32"),
        "item": np.array([5, 6, 7], "int32"),
        "w": np.array([1.0, 4.0, 0.5], "float32"),
    }
    options = {"batch_size": 12, "negatives": 3, "shuffle": False, "weight": "w"}
    batches = data.with_negatives(positives, SCHEMA, **options).cache()
    ((x, y, w),) = batches
    assert w.numpy().tolist() == [1.0, 4.0, 0.5] and y.shape == (3, 4)
    for weights in (None, {0: 2.0, 1: 30.0}):
        model = made()
        history = model.fit(batches, verbose=0, class_weight=weights)
        expected = expected_loss(model, [(x, y)], weights or {0: 1.0, 1: 1.0}, w.numpy()[:, None])
        assert history.history["loss"][0] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="with_negatives: .*'nothing'"):
        data.with_negatives(positives, SCHEMA, **{**options, "weight": "nothing"})
