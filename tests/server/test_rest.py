import base64
import json
import re

import hypothesis
import hypothesis.strategies as st
import pytest

from kerasrec.serving import load


@pytest.fixture(scope="module")
def half(serving, hand_made):
    with serving(hand_made, max_rows=50, max_body_mib=0.1) as client:
        yield client


@pytest.fixture(scope="module")
def films(serving, movies):
    with serving(movies) as client:
        yield client


def test_status_and_metadata(half):
    status, found = half.get()
    assert status == 200
    ok = {"error_code": "OK", "error_message": ""}
    assert found == {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": ok}]}
    assert half.get("/versions/1") == (200, found)
    assert half.get("/versions/2")[0] == 404
    status, found = half.get("/metadata")
    assert status == 200
    assert found["model_spec"] == {"name": "half", "signature_name": "", "version": "1"}
    definitions = found["metadata"]["signature_def"]["signature_def"]
    assert definitions["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert definitions["classify"]["method_name"] == "tensorflow/serving/classify"


def test_rows_and_columns(half):
    names = [{"b64": base64.b64encode(text).decode()} for text in (b"1.0", b"2.0")]
    assert half.post({"instances": [1.0, 2]}) == (
        200,
        {"predictions": [{"name_bytes": names[0], "y": 2.5}, {"name_bytes": names[1], "y": 4.5}]},
    )
    named = {"instances": [{"x": 1.0}, {"x": 2.0}]}
    assert half.post(named) == half.post({"instances": [1.0, 2.0]})
    columns = {"outputs": {"name_bytes": names, "y": [2.5, 4.5]}}
    assert half.post({"inputs": [1.0, 2.0]}) == (200, columns)
    assert half.post({"inputs": {"x": [1.0, 2.0]}}, version="/versions/1") == (200, columns)
    # One output goes without its name.
    assert half.post({"signature_name": "fragile", "instances": [1.0]}) == (
        200,
        {"predictions": [1.5]},
    )
    assert half.post({"signature_name": "scalar", "inputs": 4}) == (200, {"outputs": 8})


def test_classify_and_regress(half):
    body = {"signature_name": "regress", "examples": [{"x": 1.0}, {"x": [2.0]}]}
    assert half.post(body, "regress") == (200, {"results": [2.5, 4.5]})
    shared = {"signature_name": "regress", "context": {"x": 3.0}, "examples": [{}, {"x": 1.0}]}
    assert half.post(shared, "regress") == (200, {"results": [6.5, 2.5]})
    body["signature_name"] = "classify"
    assert half.post(body, "classify") == (
        200,
        {"results": [[["up", 2.5], ["down", -2.5]], [["up", 4.5], ["down", -4.5]]]},
    )


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"instances": [1', 400, "JSON Parse error"),
        (b"\xff\xfe", 400, "JSON Parse error"),
        (b"[" * 50_000, 400, "JSON Parse error"),
        (b"[1]", 400, "expected an object"),
        ({}, 400, "one of the keys 'instances' and 'inputs'"),
        ({"inputs": [1.0], "instances": [1.0]}, 400, "one of the keys"),
        ({"instances": []}, 400, "a list with values"),
        ({"instances": ["a"]}, 400, "input 'x': expected values of type float32; received 'a'"),
        ({"instances": [[1.0], [2.0]]}, 400, r"'x': expected float32 of shape \(n\).*\(2, 1\)"),
        ({"instances": [{"x": 1.0}, {"z": 1.0}]}, 400, "element: 1 of 'instances'.*'x'"),
        ({"inputs": {"z": [1.0]}}, 400, r"takes the inputs \['x'\]; received \['z'\]"),
        ({"instances": [0.0] * 51}, 400, "may have at most 50 rows; received 51"),
        ({"signature_name": "nothing", "instances": [1.0]}, 400, 'name: "nothing" not found'),
        ({"signature_name": 3, "instances": [1.0]}, 400, "must be a string"),
        ({"signature_name": "fragile", "instances": [-1.0]}, 400, "negative"),
        (b" " * 200_000, 413, "too large"),
    ],
)
def test_garbage_is_refused(half, body, status, message, caplog):
    received, answer = half.post(body)
    assert received == status
    assert re.search(message, answer["error"]), answer
    # And it harms nobody.
    assert half.post({"instances": [1.0]})[0] == 200


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters()),  # surrogates too
        st.sampled_from([10**400, -(2**63), {"b64": "aGk="}, {"b64": 1}]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(["signature_name", "inputs", "instances", "examples", "context", "x"])
NAMES = st.sampled_from(["serving_default", "regress", "classify", "scalar", "fragile"])


@hypothesis.settings(max_examples=150)
@hypothesis.given(
    st.dictionaries(KEYS, VALUES | st.dictionaries(st.just("x"), VALUES)),
    NAMES | st.none(),
    st.sampled_from(["predict", "regress", "classify"]),
)
def test_no_json_is_an_error_of_the_server(half, body, signature, verb):
    if signature is not None:
        body["signature_name"] = signature
    status, answer = half.post(body, verb)
    assert status in (200, 400, 413), answer


def test_deep_lists_are_refused(half):
    for depth in (50, 900, 5000):
        body = b'{"instances":' + b"[" * depth + b"1.0" + b"]" * depth + b"}"
        assert half.post(body)[0] == 400


def test_other_addresses(half):
    one = json.dumps({"instances": [1.0]})
    for method, path, status in (
        ("POST", "/v1/models/other:predict", 404),
        ("POST", "/v1/models/half/versions/7:predict", 404),
        ("POST", "/v1/models/half:explain", 400),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v1/models/half/versions/x", 400),
        ("GET", "/v1/models", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/v1/models/half", 405),
    ):
        received, data = half.raw(method, path, one)
        assert received == status, path
        assert "error" in json.loads(data)
    for body, verb, message in (
        ({"instances": [1.0]}, "regress", "a list of objects under the key 'examples'"),
        ({"examples": [{"x": 1.0}]}, "classify", "has the method"),
        ({"examples": [{"x": [[1.0]]}], "signature_name": "regress"}, "regress", "feature 'x'"),
    ):
        received, answer = half.post(body, verb)
        assert received == 400 and message in answer["error"]


def test_recommendations_are_those_of_the_loaded_model(films, movies):
    for file in (movies / "1" / "requests").iterdir():
        verb = file.stem if file.stem in ("classify", "regress") else "predict"
        assert films.post(file.read_bytes(), verb)[0] == 200, file
    inputs = {"user_id": ["né", "nobody"], "exclude": [[101, -1], [100, 100]]}
    status, found = films.post({"signature_name": "recommend", "inputs": inputs})
    expected = load(movies).recommend({"user_id": inputs["user_id"]}, exclude=inputs["exclude"])
    assert status == 200
    assert found["outputs"]["item_id"] == expected.item_id.tolist()
    assert found["outputs"]["fallback"] == [False, True]
    # Nothing to exclude, in both formats.
    alone = {"signature_name": "recommend", "inputs": {"user_id": ["né"], "exclude": [[]]}}
    row = {
        "signature_name": "recommend",
        "instances": [{"user_id": "né", "exclude": []}],
    }
    by_column, by_row = films.post(alone)[1]["outputs"], films.post(row)[1]["predictions"]
    assert by_row == [{key: value[0] for key, value in by_column.items()}]


def test_metrics_carry_the_names_of_tensorflow_serving(films):
    films.post({"signature_name": "recommend", "inputs": {"user_id": ["né"], "exclude": [[]]}})
    films.post({})
    text = films.metrics()
    assert ':tensorflow:serving:request_count{model_name="movies",status="OK"}' in text
    assert ':tensorflow:serving:request_count{model_name="movies",status="INVALID_ARG' in text
    labels = 'API="Predict",entrypoint="REST"'
    assert f":tensorflow:serving:request_latency_bucket{{{labels},le=" in text
    assert ':tensorflow:serving:runtime_latency_sum{API="Predict"' in text
    assert ":tensorflow:serving:batching_session:queuing_latency_count{thread_pool" in text
    assert 'kerasrec_score_count{model_name="movies"}' in text
