"""Every signature: what it answers, by hand or against Keras, and what is written for it."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kerasrec import models
from kerasrec.data import Vocabulary
from kerasrec.models import EASE, MatrixFactorization, Popularity
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, NumericSequence, Schema
from kerasrec.serving import export, load, verify
from kerasrec.serving.graph.examples import make_examples, parse_examples
from kerasrec.serving.parts import parts_of
from kerasrec.serving.signatures import choose_signatures
from kerasrec.types import Explainer, OneItemRanker, Retriever

NAMES = ["serving_default", "score", "recommend", "recommend_2", "recommend_4", "similar_items"]
NAMES += ["user_embedding", "item_embedding", "predict_examples", "regress", "classify"]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Items 5, 6, 7, 8 with vectors of known angles; all signatures, and the Keras model."""
    schema = Schema(user=Categorical("user", 4), item=Categorical("item", 6))
    model = MatrixFactorization(schema, embedding_dim=2)
    model.item_vectors.embeddings.assign([[9, 9], [9, 9], [1, 0], [3, 4], [2, 0], [0, -1]])
    vocabularies = {
        "user": Vocabulary.fit(["ann", "bob"], "user"),
        "item": Vocabulary.fit([5, 6, 7, 8], "item"),
    }
    folder = tmp_path_factory.mktemp("films")
    path = export(model, folder, vocabularies=vocabularies, k=(2, 4), signatures=NAMES)
    # The loaded object owns the tables: it must live as long as the functions.
    return model, path, tf.saved_model.load(str(path))


def test_every_signature_of_a_retriever_agrees_with_keras_in_a_fresh_process(films):
    report = verify(films[1])
    assert [check.signature for check in report.signatures] == NAMES
    assert max(check.max_difference for check in report.signatures) < 1e-6


def test_similar_items_are_those_of_the_smallest_angle(films):
    """Biases are all 0, so these columns do not count; the cosines are 1, 0.6, 0 and -0.8."""
    similar = films[2].signatures["similar_items"]
    answer = similar(item=tf.constant([5, 6, 99, -1], tf.int64))
    assert answer["item_id"].numpy().tolist() == [[7, 6], [5, 7], [-1, -1], [-1, -1]]
    np.testing.assert_allclose(answer["score"][:2], [[1, 0.6], [0.6, 0.6]], atol=1e-6)
    assert answer["count"].numpy().tolist() == [2, 2, 0, 0]


def test_lists_of_several_lengths_begin_alike(films):
    signatures = films[2].signatures
    inputs = {"user": tf.constant(["ann"]), "exclude": tf.constant([[6]], tf.int64)}
    short, first, long = (
        signatures[name](**inputs) for name in ("recommend_2", "recommend", "recommend_4")
    )
    assert short["item_id"].shape == (1, 2) and long["item_id"].shape == (1, 4)
    np.testing.assert_array_equal(short["item_id"], first["item_id"])
    np.testing.assert_array_equal(short["item_id"], long["item_id"][:, :2])
    assert long["count"].numpy().tolist() == [3] and 6 not in long["item_id"].numpy()


def test_products_of_the_embeddings_are_the_scores(films):
    model, _, loaded = films
    users, items = tf.constant(["ann", "?"]), tf.constant([5, 8], tf.int64)
    left = loaded.signatures["user_embedding"](user=users)["embedding"]
    right = loaded.signatures["item_embedding"](item=items)["embedding"]
    scores = loaded.signatures["score"](user=users, item=items)["score"]
    np.testing.assert_allclose(np.sum(left * right, axis=1), scores, atol=1e-6)
    expected = model({"user": np.array([2, 1]), "item": np.array([2, 5])})
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_the_python_client_asks_every_signature_of_a_retriever(films):
    """An unknown item has no neighbours."""
    served = load(films[1].parent)
    similar = served.similar_items([5, 99])
    assert [[item for item, _ in row] for row in similar.rows()] == [[7, 6], []]
    assert similar.fallback.tolist() == [False, True]
    users = served.user_embedding({"user": ["ann", "?"]})
    items = served.item_embedding({"item": [5, 8]})
    scores = served.score({"user": ["ann", "?"], "item": [5, 8]})
    np.testing.assert_allclose(np.sum(users * items, axis=1), scores, atol=1e-6)
    assert [served.recommend({"user": ["ann"]}, k=k).item_id.shape for k in (2, 4)] == [
        (1, 2),
        (1, 4),
    ]
    with pytest.raises(ValueError, match="recommend_3.*has the signatures.*'recommend_2'"):
        served.recommend({"user": ["ann"]}, k=3)
    with pytest.raises(ValueError, match="'item': expected 64-bit integers.*Pass integers"):
        served.similar_items(["x"])


def test_classify_and_regress_have_the_form_that_tensorflow_serving_demands(films):
    _, path, loaded = films
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    methods = {name: signature.method_name for name, signature in signatures.items()}
    assert methods["classify"] == "tensorflow/serving/classify"
    assert methods["regress"] == "tensorflow/serving/regress"
    others = set(NAMES) - {"classify", "regress"}
    assert {methods[name] for name in others} == {"tensorflow/serving/predict"}
    assert set(signatures["classify"].inputs) == set(signatures["regress"].inputs) == {"inputs"}
    rows = make_examples({"user": np.array(["ann", ""]), "item": np.array([6, -1])})
    score = loaded.signatures["predict_examples"](examples=tf.constant(rows))["score"].numpy()
    asked = {"user": tf.constant(["ann", ""]), "item": tf.constant([6, -1], tf.int64)}
    np.testing.assert_array_equal(score, loaded.signatures["score"](**asked)["score"])
    regressed = loaded.signatures["regress"](inputs=tf.constant(rows))
    np.testing.assert_array_equal(regressed["outputs"], score)
    classified = loaded.signatures["classify"](inputs=tf.constant(rows))
    assert classified["classes"].numpy().tolist() == [[b"0", b"1"]] * 2
    np.testing.assert_allclose(classified["scores"][:, 1], 1 / (1 + np.exp(-score)), atol=1e-6)
    np.testing.assert_allclose(np.sum(classified["scores"], axis=1), 1, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(models.__all__) - {"Recommender"}))
def test_every_model_of_the_zoo_has_its_signatures_verified(tmp_path, name):
    history = IdSequence("history", of="item", max_length=3)
    steps = NumericSequence("steps", of="rating", max_length=3)
    schema = Schema(user=[Categorical("user", 4), history, steps], item=Categorical("item", 8))
    vocabularies = {"user": Vocabulary.fit([1, 2], "user"), "item": Vocabulary.fit([*"abcdef"])}
    model = getattr(models, name)(schema)
    report = verify(export(model, tmp_path, vocabularies=vocabularies, k=2))
    expected = {"score", "recommend", "regress", "predict_examples"}
    if isinstance(model, Retriever):
        expected |= {"similar_items", "user_embedding", "item_embedding"}
    if isinstance(model, OneItemRanker):
        expected.add("similar_items")
    if isinstance(model, Explainer):
        expected.add("explain")
    assert expected <= {check.signature for check in report.signatures}


@pytest.mark.parametrize("ids", [[5, 6, 7, 8], ["a", "b", "c", "d"]])
def test_a_score_is_explained_by_raw_items(tmp_path, ids):
    schema = Schema(user=Categorical("user", 5), item=Categorical("item", 6))
    vocabularies = {"user": Vocabulary.fit([1, 2, 3], "user"), "item": Vocabulary.fit(ids)}
    model = EASE(schema, l2=1.0)
    rows = {"user": np.array([2, 2, 2, 3, 3, 4]), "item": np.array([2, 3, 4, 2, 4, 3])}
    model.adapt(rows)
    served = load(export(model, tmp_path, vocabularies=vocabularies, k=2))
    pairs = {"user": [1, 3, 9], "item": [ids[3], ids[0], ids[0]]}
    first, second, unknown = served.explain(pairs)
    assert {item for item, _ in first} == set(ids[:3]) and not unknown
    assert [item for item, _ in second] == [ids[1]]
    weight = float(model.item_weights[2, 3])
    assert second[0][1] == pytest.approx(weight) == served.score(pairs)[1]
    amounts = [amount for _, amount in first]
    assert amounts == sorted(amounts, reverse=True)


def written(path):
    shapes = [
        tuple(shape) for _, shape in tf.train.list_variables(str(path / "variables" / "variables"))
    ]
    return sorted(shapes), sorted(file.name for file in (path / "assets").iterdir())


def test_what_no_signature_reads_is_not_written(tmp_path):
    schema = Schema(user=Categorical("user", 5), item=Categorical("item", 6))
    model = MatrixFactorization(schema, embedding_dim=2)
    vocabularies = {"user": Vocabulary.fit(["a", "b", "c"]), "item": Vocabulary.fit([*"wxyz"])}
    options = {"vocabularies": vocabularies, "k": 2}
    everything, files = written(export(model, tmp_path, **options))
    assert (5, 2) in everything and (6, 2) in everything and (4, 4) in everything
    assert files == ["item.txt", "user.txt"]
    shapes, files = written(export(model, tmp_path, signatures=["item_embedding"], **options))
    assert [shape for shape in shapes if shape] == [(6, 1), (6, 2)] and files == ["item.txt"]
    shapes, _ = written(export(model, tmp_path, signatures=["recommend"], **options))
    assert (4, 4) in shapes and (5, 2) in shapes and (6, 2) not in shapes


def test_names_of_signatures():
    schema = Schema(user=Categorical("user", 5), item=Categorical("item", 6))
    ranker = Popularity(schema)
    assert choose_signatures(parts_of(ranker), (3,), ["regress", "score"]) == (
        "serving_default",
        "score",
        "regress",
    )
    assert not {"classify", "predict"} & set(choose_signatures(parts_of(ranker), (3,), None))
    ranker.output_kind = "logit"
    names = choose_signatures(parts_of(ranker), (3, 4), None)
    assert names[:3] == ("serving_default", "score", "predict") and names[-1] == "classify"
    assert names[3:6] == ("recommend", "recommend_3", "recommend_4")
    ranker.output_kind = "rating"
    with pytest.raises(ValueError, match="received .'classify'"):
        choose_signatures(parts_of(ranker), (3,), ["classify"])


FEATURES = (
    Categorical("user", 5),
    Bag("tags", 5, max_length=2),
    IdSequence("history", of="item", max_length=2),
    Numeric("age"),
    Numeric("place", size=2),
    NumericSequence("gaps", size=2, of="time", max_length=2),
)
DTYPES = {"user": "string", "tags": "string", "history": "int64"}
DTYPES |= dict.fromkeys(("age", "place", "gaps"), "float32")


def test_examples_lose_nothing_and_what_they_lack_is_filled_in():
    inputs = {
        "user": np.array(["né", ""], object),
        "tags": np.array([["a", "b"], ["", ""]], object),
        "history": np.array([[7, -1], [-1, -1]]),
        "age": np.float32([1.5, np.nan]),
        "place": np.float32([[0, 2], [0, 0]]),
        # The second row has no event, the first one of zeros.
        "gaps": np.float32([[[1, 2], [0, 0]], [[np.nan] * 2] * 2]),
    }
    rows = make_examples(inputs)
    assert list(tf.train.Example.FromString(rows[1]).features.feature) == ["place"]
    raw = parse_examples(tf.constant(rows), FEATURES, DTYPES)
    for name, value in inputs.items():
        expected = tf.constant(value, tf.as_dtype(DTYPES[name]))
        np.testing.assert_array_equal(raw[name], expected, err_msg=name)


def test_of_a_long_history_the_newest_count_and_of_a_long_bag_the_first():
    example = tf.train.Example()
    example.features.feature["history"].int64_list.value.extend([1, 2, 3])
    example.features.feature["tags"].bytes_list.value.extend([b"x", b"y", b"z"])
    example.features.feature["gaps"].float_list.value.extend([1, 2, 3, 4, 5, 6])
    raw = parse_examples(tf.constant([example.SerializeToString()]), FEATURES, DTYPES)
    assert raw["gaps"].numpy().tolist() == [[[3, 4], [5, 6]]]
    assert raw["history"].numpy().tolist() == [[2, 3]]
    assert raw["tags"].numpy().tolist() == [[b"x", b"y"]]


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    """Items 5 to 8, of which 6 is out of stock, with genres that the model does not read."""
    schema = Schema(user=Categorical("user", 4), item=Categorical("item", 6))
    model = MatrixFactorization(schema, embedding_dim=2, stddev=1.0)
    vocabularies = {
        "user": Vocabulary.fit(["ann", "bob"], "user"),
        "item": Vocabulary.fit([5, 6, 7, 8, 8], "item"),
        "genre": Vocabulary.fit(["drama", "war"], "genre"),
    }
    genres = [[0, 0], [0, 0], [3, 1], [2, 2], [0, 0], [2, 3]]
    path = export(
        model,
        tmp_path_factory.mktemp("filtered"),
        vocabularies=vocabularies,
        items={"genre": np.array(genres)},
        candidates=np.array([5, 4, 2]),
        filter_by="genre",
        k=3,
        signatures=["recommend"],
    )
    return path, load(path)


def test_recommendations_are_filtered_by_category(filtered):
    """Item 8 is drama and war, 7 nothing, 5 war and something unknown."""
    users = ["ann", "ann", "?", "bob", "?"]
    allow = [["war"], ["drama"], ["war", "drama"], ["comedy"], []]
    answer = filtered[1].recommend({"user": users}, allow=allow)
    assert [sorted(raw for raw, _ in row) for row in answer.rows()] == [
        [5, 8],
        [8],
        [5, 8],
        [],
        [5, 7, 8],
    ]
    assert answer.count.tolist() == [2, 1, 2, 0, 3]
    assert answer.item_id[1].tolist() == [8, -1, -1]
    banned = filtered[1].recommend({"user": ["ann"]}, allow=[["war"]], exclude=[[8]])
    assert banned.rows()[0][0][0] == 5 and banned.count.tolist() == [1]
    assert filtered[1].recommend({"user": ["ann"]}).count.tolist() == [3]


def test_filters_are_verified(filtered):
    report = verify(filtered[0])
    assert [check.requests for check in report.signatures] == [3]


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"filter_by": "user"},
            "filter_by must name a column of ids of the items; received 'user'",
        ),
        ({"items": None}, r"items must hold the columns \['genre'\] of every item"),
        ({"items": {"genre": [2, 3]}}, "one row for each of the 4 encoded ids"),
        ({"items": {"genre": [0, 1, 2, 9]}}, "ids from 0 to 3; received 0 to 9"),
        ({"items": {"genre": ["a", "b", "c", "d"]}}, "Encode raw ids first"),
        ({"vocabularies": ("user", "item")}, r"missing \['genre'\]"),
    ],
)
def test_what_cannot_be_filtered_is_refused(tmp_path, change, message):
    schema = Schema(user=Categorical("user", 4), item=Categorical("item", 4))
    vocabularies = {name: Vocabulary.fit(["a", "b"], name) for name in ("user", "item", "genre")}
    change = {"filter_by": "genre", "items": {"genre": [0, 1, 2, 3]}, **change}
    names = change.pop("vocabularies", tuple(vocabularies))
    with pytest.raises(ValueError, match=message):
        export(
            Popularity(schema),
            tmp_path,
            vocabularies={name: vocabularies[name] for name in names},
            k=1,
            **change,
        )
