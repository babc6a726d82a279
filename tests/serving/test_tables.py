"""Tables: models without items, which predict from raw columns."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import HashBuckets, Vocabulary
from kerasrec.schema import (
    Bag,
    Categorical,
    Date,
    Hashed,
    IdSequence,
    Numeric,
    NumericSequence,
    Schema,
)
from kerasrec.serving import QuantizationBudget, VerificationError, export, load, verify
from kerasrec.serving.artifact import checksums, recorded_requests
from kerasrec.serving.artifact.signature_defs import signature_defs
from kerasrec.serving.graph.examples import make_examples
from kerasrec.serving.parts import parts_of
from kerasrec.serving.spec import make_spec

COUNTRIES = ["de", "né-用户-🙂", "fr"]
DEVICES = [2**40, 3, 2**31 + 5]
TAGS = ["a", "b", "ü"]
NOTHING = {"country": [""], "device": [-1], "age_bucket": [np.nan], "tags": [[]]}
NOTHING |= {"age": [np.nan], "place": [[np.nan, np.nan]]}


def random_rows(size):
    """Raw rows, with unknown and missing values and numbers far outside, and the same encoded."""
    rng = np.random.default_rng(size)
    raw = {
        "country": rng.choice([*COUNTRIES, "", "??", "x" * 500], size).tolist(),
        "device": rng.choice(np.array([*DEVICES, -1, 2**63 - 1, 4]), size).tolist(),
        "age_bucket": np.float32(rng.choice([-1e30, 0, 29.9, 30, 61, 1e30, np.nan], size)),
        "tags": [rng.choice([*TAGS, "?"], rng.integers(0, 4)).tolist() for _ in range(size)],
        "age": np.float32(rng.choice([np.nan, -200, 1e4, 33.5], size)),
        "place": np.float32(rng.normal(size=(size, 2))),
    }
    raw["place"][rng.random((size, 2)) < 0.3] = np.nan

    def code(value, known):
        return known.index(value) + 2 if value in known else 1

    tags = [[code(tag, TAGS) for tag in row] + [0] * (3 - len(row)) for row in raw["tags"]]
    encoded = {
        # A missing country is a category of its own, 0.
        "country": np.array([code(c, COUNTRIES) if c else 0 for c in raw["country"]]),
        "device": np.array([code(value, DEVICES) for value in raw["device"]]),
        # Thirds of the numbers from 0 to 89.
        "age_bucket": np.select(
            [np.isnan(raw["age_bucket"]), raw["age_bucket"] < 30, raw["age_bucket"] < 60],
            [1, 2, 3],
            4,
        ),
        "tags": np.array(tags),
    }
    return raw, {**raw, **encoded}


def test_random_raw_rows_score_as_encoded_rows_do_in_keras(table_export):
    case, served = table_export
    for size in (1, 7, 300):
        raw, encoded = random_rows(size)
        expected = np.asarray(case.model(encoded))
        answer = served.predict(dict(reversed(raw.items())))
        assert {(value.shape, value.dtype.name) for value in answer.values()} == {
            ((size,), "float32")
        }
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(answer["score"], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(answer["probability"], 1 / (1 + np.exp(-expected)), atol=1e-6)
        np.testing.assert_array_equal(served.score(raw), answer["score"])


def test_what_is_missing_or_unknown_scores_as_in_keras(table_export):
    case, served = table_export
    unknown = {**NOTHING, "country": ["nowhere"], "device": [12], "tags": [["?"]]}
    encoded = {"country": [1], "device": [1], "age_bucket": [1], "tags": [[0, 0, 0]]}
    encoded |= {"age": [np.nan], "place": [[np.nan] * 2]}
    for raw, country, tags in ((NOTHING, 0, [[0, 0, 0]]), (unknown, 1, [[1, 0, 0]])):
        expected = case.model(
            {
                **{k: np.array(v) for k, v in encoded.items()},
                "country": np.array([country]),
                "tags": np.array(tags),
            }
        )
        np.testing.assert_allclose(served.predict(raw)["score"], expected, rtol=1e-5)


def test_the_signatures_of_log_odds_and_of_values(tmp_path, table_export, make_table):
    definitions = signature_defs(table_export[1].path)
    names = {"serving_default", "predict", "predict_examples", "regress", "classify"}
    assert set(definitions) == names
    for name in ("serving_default", "predict"):
        assert set(definitions[name].outputs) == {"score", "probability"}
        assert definitions[name].method_name == "tensorflow/serving/predict"
        assert list(definitions[name].inputs["tags"].tensor_shape.dim)[1].size == 3
    case = make_table("rating")
    path = case.export(tmp_path)
    definitions = signature_defs(path)
    assert set(definitions) == names - {"classify"}
    assert set(definitions["predict"].outputs) == {"score"}
    raw, encoded = random_rows(20)
    answer = load(path).predict(raw)
    assert set(answer) == {"score"}
    np.testing.assert_allclose(answer["score"], case.model(encoded), rtol=1e-5, atol=1e-5)
    verify(path)


def test_examples_may_lack_any_feature(table_export):
    case, served = table_export
    signatures = tf.saved_model.load(str(served.path)).signatures
    rows = [
        {"country": np.array(["fr"]), "age": np.float32([20])},
        {},
        {"tags": np.array([["ü", ""]])},
    ]
    examples = [make_examples(row)[0] if row else b"" for row in rows]
    raw = {name: value * 3 for name, value in NOTHING.items()}
    raw |= {"country": ["fr", "", ""], "age": [20, np.nan, np.nan], "tags": [[], [], ["ü"]]}
    expected = served.predict(raw)
    outputs = signatures["regress"](inputs=tf.constant(examples))["outputs"]
    np.testing.assert_allclose(outputs, expected["score"], rtol=1e-6)
    classified = signatures["classify"](inputs=tf.constant(examples))
    assert classified["classes"].numpy().tolist() == [[b"0", b"1"]] * 3
    np.testing.assert_allclose(classified["scores"][:, 1], expected["probability"], rtol=1e-6)
    again = signatures["predict_examples"](examples=tf.constant(examples))["score"]
    np.testing.assert_array_equal(again, outputs)


def test_columns_that_are_missing_or_not_of_the_model_are_named(table_export):
    served = table_export[1]
    inputs = {**NOTHING, "zip": ["1"]}
    del inputs["age"]
    with pytest.raises(
        ValueError, match=r"expected the inputs \['age', 'age_bucket', .*'zip'"
    ) as e:
        served.predict(inputs)
    assert "missing ['age'], unknown ['zip']" in str(e.value)
    with pytest.raises(ValueError, match="'age': expected numbers.*received .'old'"):
        served.predict({**NOTHING, "age": ["old"]})
    with pytest.raises(ValueError, match="'device': expected 64-bit integers"):
        served.predict({**NOTHING, "device": [1.5]})


def test_a_fresh_process_agrees_about_every_row(table_export):
    case, served = table_export
    report = verify(served.path.parent)
    assert not report.problems and [check.requests for check in report.signatures] == [1] * 5
    text = " ".join(str(report).split())
    assert "rows: known, known, unknown unicode, known, known, numbers out of range" in text
    assert {"empty", "unknown, very long", "known unicode"} <= set(report.rows)
    (request,) = (
        one
        for one in recorded_requests.read(served.path)["requests"]
        if one["signature"] == "predict"
    )
    inputs, answers = request["inputs"], request["answers"]
    assert (inputs["country"][7], inputs["device"][7], inputs["tags"][7]) == ("", -1, [""] * 3)
    assert np.isnan([inputs["age"][7], inputs["age_bucket"][7], *inputs["place"][7]]).all()
    # Ten deviations above the mean of the logarithms, and below that of the numbers.
    assert inputs["age"][4] == pytest.approx(np.exp(3.5 + 10 * 0.5) - 1)
    assert inputs["place"][4] == [-10, -10]
    assert 2**31 + 5 in inputs["device"] and 2**63 - 1 in inputs["device"]
    assert np.isfinite(answers["score"]).all()
    np.testing.assert_allclose(
        answers["probability"], 1 / (1 + np.exp(-np.array(answers["score"]))), rtol=1e-12
    )
    anew = verify(served.path, model=case.model, vocabularies=case.vocabularies)
    assert not anew.problems


def test_a_changed_weight_or_answer_is_found(tmp_path, table_export):
    path = shutil.copytree(table_export[1].path, tmp_path / "1")
    weights = path / "variables" / "variables.data-00000-of-00001"
    raw = bytearray(weights.read_bytes())
    case = table_export[0]
    kernel = np.asarray(case.model.head.kernel).tobytes()
    start = bytes(raw).index(kernel)
    raw[start : start + len(kernel)] = (2 * np.asarray(case.model.head.kernel)).tobytes()
    weights.write_bytes(raw)
    with pytest.raises(ValueError, match="damaged: variables/variables.data.* has changed"):
        verify(path)
    checksums.write(path)
    with pytest.raises(ValueError, match="does not load or run"):  # TensorFlow has its own sums
        verify(path)
    path = shutil.copytree(table_export[1].path, tmp_path / "2")
    file = path / recorded_requests.FILE_NAME
    record = json.loads(file.read_text("utf-8"))
    request = next(one for one in record["requests"] if one["signature"] == "predict")
    request["answers"]["probability"][3] += 1e-3
    file.write_text(json.dumps(record))
    checksums.write(path)
    with pytest.raises(VerificationError, match="predict, request 1, batch 1: probability"):
        verify(path)


def test_smaller_tables_are_held_to_their_scores(tmp_path, make_table):
    case = make_table()
    path = case.export(tmp_path, quantize="int8", budget=QuantizationBudget(0.1))
    report = verify(path)
    about = json.loads((path / "tables.json").read_text())
    assert report.quantization == about and "int8" in str(report)
    assert 0 < about["score_difference"] < 0.1 and about["budget"] == {"score_difference": 0.1}
    verify(path, model=case.model, vocabularies=case.vocabularies)
    with pytest.raises(ValueError, match="over 200 random rows; the budget is 1e-09"):
        case.export(tmp_path, quantize="float16", budget=QuantizationBudget(1e-9))
    with pytest.raises(ValueError, match="received recall=0.9 for a model without item features"):
        case.export(tmp_path, quantize="int8", budget=QuantizationBudget(0.1, recall=0.9))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"k": 5}, "takes none of k, items, candidates, filter_by; received k. Leave it out"),
        ({"k": 10, "items": {"a": np.array([1])}}, "received k, items. Leave"),
        ({"candidates": np.array([2])}, "received candidates"),
        ({"filter_by": "country"}, "received filter_by"),
        ({"users": {"a": np.array([1])}}, "without user features takes none of users"),
        ({"signatures": ["recommend"]}, r"signatures \['serving_default', 'predict', .*recommend"),
        ({"signatures": ["score"]}, r"received \['score'\]"),
    ],
)
def test_what_a_table_has_no_use_for_is_refused(make_table, given, message):
    case = make_table()
    with pytest.raises(ValueError, match=message):
        make_spec(case.model, case.vocabularies, **given)


def test_a_spec_of_a_table(make_table):
    case = make_table("rating")
    spec = make_spec(case.model, case.vocabularies, users={}, items={}, signatures="predict")
    assert (spec.has_items, spec.ks, spec.candidates, spec.lists) == (False, (), {}, {})
    assert spec.signatures == ("serving_default", "predict") and not spec.is_logit
    assert spec.stored == {} and spec.item_vectors is None and not spec.compares_items
    assert spec.dtypes["age_bucket"] == "float32" and spec.dtypes["device"] == "int64"


def test_a_class_with_vectors_of_items_is_no_retriever_of_a_table(columns_model, make_table):
    class TwoTowers(columns_model):
        def query_embedding(self, inputs):
            return self.features(inputs, names=["age"])

        def item_embedding(self, inputs):
            return self.features(inputs, names=[self.schema.item_id.name])

    assert parts_of(TwoTowers(make_table().model.schema)).retriever is None
    schema = Schema(context=Numeric("age"), item=Categorical("item", 4))
    assert parts_of(TwoTowers(schema)).retriever is not None


def test_the_card_and_the_examples_of_a_table(table_export):
    path = table_export[1].path
    card = (path / "model_card.md").read_text("utf-8")
    assert "user [], item []" in card and "popular items" not in card
    assert "a missing number counts as the mean" in card
    assert "- `country`: 3 ids, of 15 training rows\n" in card
    files = sorted(file.stem for file in (path / "requests").iterdir())
    assert files == ["classify", "predict", "predict_examples", "regress", "serving_default"]
    body = json.loads((path / "requests" / "predict.json").read_text("utf-8"))
    assert set(body["inputs"]) == set(NOTHING) and body["inputs"]["country"][0] == "de"


def test_numbers_alone_are_a_table(tmp_path, columns_model):
    schema = Schema(context=[Numeric(f"feature{i}") for i in range(10)], label="target")
    model = columns_model(schema, dtype="mixed_bfloat16")
    path = export(model, tmp_path, vocabularies={})
    report = verify(path)
    assert report.rows.count("known") == 7 and "empty" in report.rows
    raw = {f"feature{i}": [0.1 * i, np.nan] for i in range(10)}
    assert load(path).predict(raw)["probability"].shape == (2,)


def test_dates_are_sent_as_seconds(tmp_path, columns_model):
    schema = Schema(context=[Date("when", mean=474000.0, deviation=900.0, missing=True)])
    model = columns_model(schema)
    path = export(model, tmp_path / "dates", vocabularies={})
    served = load(path)
    seconds = [1717113599, 1717113600, -3601, -1, 2**62, -(2**62)]
    hours = np.float32([1717113599 // 3600, 1717113600 // 3600, -2, np.nan, 2**62, -(2**62)])
    hours[4:] /= 3600
    answer = served.predict({"when": seconds})
    np.testing.assert_allclose(answer["score"], model({"when": hours}), rtol=1e-5)
    assert np.isfinite(answer["score"]).all()
    rows = make_examples({"when": np.array(seconds)})
    definition = signature_defs(served.path)["predict_examples"]
    assert list(definition.inputs) == ["examples"]
    loaded = tf.saved_model.load(str(served.path)).signatures["predict_examples"]
    received = loaded(examples=tf.constant(rows))["score"]
    np.testing.assert_allclose(received, answer["score"], rtol=1e-5)
    report = verify(path.parent)
    assert not report.problems
    (request,) = (
        one
        for one in recorded_requests.read(served.path)["requests"]
        if one["signature"] == "predict"
    )
    when = request["inputs"]["when"]
    assert when[7] == -1 and when[4] == (474000 + 10 * 900) * 3600


def test_users_without_items_are_stored(tmp_path, columns_model):
    """The age of a user is found by id, and an Example may say another."""
    history = IdSequence("visited", of="country", max_length=2)
    gaps = NumericSequence("gaps", of="gap", max_length=3)
    schema = Schema(
        user=[Categorical("user", 4), Numeric("age"), gaps],
        context=[Categorical("country", 4), history, Bag("tags", 4, 2)],
    )
    vocabularies = {
        "user": Vocabulary.fit([2**50, 7], "user"),
        "country": Vocabulary.fit(["de", "fr"], "country"),
        "tags": Vocabulary.fit(["a", "b"], "tags"),
    }
    users = {"age": np.float32([np.nan, np.nan, 20, 50])}
    model = columns_model(schema)
    path = export(model, tmp_path, vocabularies=vocabularies, users=users)
    assert "users: known, known, unknown" in str(verify(path))
    raw = {"user": [7, 9], "country": ["fr", ""], "visited": [["de"], []], "tags": [["b"], ["b"]]}
    encoded = {"user": [3, 1], "country": [3, 1], "visited": [[2, 0], [0, 0]], "age": [50, np.nan]}
    encoded["tags"] = [[3, 0], [3, 0]]
    raw["gaps"] = encoded["gaps"] = np.float32([[1, 2, np.nan], [np.nan] * 3])
    expected = model({name: np.array(value) for name, value in encoded.items()})
    np.testing.assert_allclose(load(path).predict(raw)["score"], expected, rtol=1e-5)
    shorter = {**raw, "gaps": [[1, 2], []]}  # of any width
    np.testing.assert_allclose(load(path).predict(shorter)["score"], expected, rtol=1e-5)
    assert model.schema.user_id.name in load(path).inputs("predict")
    assert "age" not in load(path).inputs("predict")


def test_items_without_users_are_recommended(tmp_path, columns_model):
    """Nothing says who asks, so that no list is a fallback; log odds have a probability, too."""
    schema = Schema(item=Categorical("item", 6), context=[Categorical("hour", 4), Numeric("age")])
    vocabularies = {
        "item": Vocabulary.fit([*"wxyz"], "item"),
        "hour": Vocabulary.fit([1, 2], "hour"),
    }
    model = columns_model(schema)
    path = export(model, tmp_path, vocabularies=vocabularies, k=3)
    names = [check.signature for check in verify(path).signatures]
    assert names[:4] == ["serving_default", "score", "predict", "recommend"]
    served = load(path)
    query = {"hour": [2, 9], "age": [0.5, np.nan]}
    answer = served.recommend(query, exclude=[["w"], []])
    assert answer.fallback.tolist() == [False, False] and answer.count.tolist() == [3, 3]
    pairs = {**query, "item": ["x", "?"]}
    found = served.predict(pairs)
    np.testing.assert_array_equal(found["score"], served.score(pairs))
    np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(-found["score"])), rtol=1e-6)


def test_hashed_values_are_sent_as_they_are(tmp_path, columns_model):
    """No vocabulary is stored, and values that no row had are hashed as well."""
    encoders = {
        "device": HashBuckets(64, 2, rows=9, name="device"),
        "account": HashBuckets(1000, 3, "int64", rows=9, name="account"),
    }
    schema = Schema(context=[Hashed("device", 66, 2), Hashed("account", 1002, 3)])
    model = columns_model(schema)
    path = export(model, tmp_path / "served", vocabularies=encoders)
    verify(path)
    assert not list(path.glob("assets/*.txt"))
    assert "- `account`: 1,000 ids, of 9 training rows" in (path / "model_card.md").read_text()
    served = load(path)
    raw = {"device": ["a", "", "né-用户-🙂"], "account": [2**40, -7, -1]}
    encoded = {name: encoders[name].encode(values) for name, values in raw.items()}
    expected = np.asarray(model(encoded))
    np.testing.assert_allclose(served.predict(raw)["score"], expected, rtol=1e-5)
    signatures = tf.saved_model.load(str(path)).signatures
    columns = {name: np.array(values) for name, values in raw.items()}
    answer = signatures["predict_examples"](examples=tf.constant(make_examples(columns)))
    np.testing.assert_allclose(answer["score"], expected, rtol=1e-5)
