"""A table behind the server: columns by name, and requests that do not fit."""

import math

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

COLUMNS = {
    "place": [0.5, -1.0],
    "tags": ["b", "ü", ""],
    "country": "né-用户-🙂",
    "age": 33.5,
    "device": 2**31 + 5,
    "age_bucket": 61.0,
}
EMPTY = {
    "place": [math.nan] * 2, "tags": [""] * 3, "country": "", "age": math.nan, "device": -1,
    "age_bucket": math.nan,
}  # fmt: skip


@pytest.fixture(scope="module")
def clicks(serving, table_export):
    """The client of a server, the loaded version and the case."""
    case, served = table_export
    with serving(served.path.parent) as client:
        yield client, served, case


def test_columns_are_named_in_any_order(clicks):
    client, served, _ = clicks
    columns = {name: [value, EMPTY[name]] for name, value in COLUMNS.items()}
    expected = served.predict(columns)
    for body in (
        {"instances": [dict(reversed(COLUMNS.items())), EMPTY]},
        {"signature_name": "predict", "instances": [COLUMNS, EMPTY]},
    ):
        status, answer = client.post(body)
        assert status == 200
        for name, values in expected.items():
            found = [row[name] for row in answer["predictions"]]
            np.testing.assert_allclose(found, values, rtol=1e-6)
    status, answer = client.post({"inputs": dict(reversed(columns.items()))})
    np.testing.assert_allclose(answer["outputs"]["probability"], expected["probability"], rtol=1e-6)
    assert 0 < min(answer["outputs"]["probability"]) < max(answer["outputs"]["probability"]) < 1


def test_examples_are_classified_and_regressed(clicks):
    client, served, _ = clicks
    examples = [{"country": "fr", "tags": ["a"], "age": 20.0, "of_no_model": 1}, {}]
    rows = {name: [value, value] for name, value in EMPTY.items()}
    rows |= {"country": ["fr", ""], "tags": [["a"], []], "age": [20.0, math.nan]}
    expected = served.predict(rows)
    body = {"signature_name": "regress", "examples": examples}
    np.testing.assert_allclose(client.post(body, "regress")[1]["results"], expected["score"], 1e-6)
    body["signature_name"] = "classify"
    results = client.post(body, "classify")[1]["results"]
    assert [[label for label, _ in row] for row in results] == [["0", "1"]] * 2
    np.testing.assert_allclose([row[1][1] for row in results], expected["probability"], 1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"zip": "1"}, "missing [], unknown ['zip']"),
        ({"age": None}, "input 'age': expected values of type float32; received None"),
        ({"age": "33"}, "input 'age': expected values of type float32; received '33'"),
        ({"device": 1.5}, "input 'device': expected values of type int64; received 1.5"),
        (
            {"tags": ["a"]},
            "of shape (n, 3); received string of shape (1, 1). Pad shorter rows with ",
        ),
        ({"tags": ["a"] * 4}, "'tags': expected string of shape (n, 3); received string of shape"),
        ({"device": 2**63}, "input 'device': expected values of type int64"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_name(clicks, change, message):
    client = clicks[0]
    status, answer = client.post({"instances": [{**COLUMNS, **change}]})
    assert status == 400 and message in answer["error"], answer
    assert "age" in answer["error"] or "device" in answer["error"] or "tags" in answer["error"]


def test_what_is_missing_and_what_is_too_much_is_named(clicks):
    client, served, _ = clicks
    row = {name: value for name, value in COLUMNS.items() if name != "age"} | {"zip": "1"}
    wrong = "['age', 'age_bucket', 'country', 'device', 'place', 'tags']"
    for body in ({"instances": [row]}, {"inputs": {name: [value] for name, value in row.items()}}):
        status, answer = client.post(body)
        assert status == 400 and wrong in answer["error"]
        assert "missing ['age'], unknown ['zip']" in answer["error"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = client.name
    for name, value in row.items():
        dtype = None if name == "zip" else served.inputs("predict")[name].dtype
        request.inputs[name].CopyFrom(tf.make_tensor_proto([value], dtype))
    with grpc.insecure_channel(f"127.0.0.1:{client.grpc_port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=300)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "missing ['age'], unknown ['zip']" in caught.value.details()
        del request.inputs["zip"]
        request.inputs["age"].CopyFrom(tf.make_tensor_proto([33.5], tf.float32))
        response = stub.Predict(request, timeout=300)
    expected = served.predict({name: [value] for name, value in COLUMNS.items()})
    for name, value in expected.items():
        np.testing.assert_allclose(tf.make_ndarray(response.outputs[name]), value, rtol=1e-6)
