"""Asked with the stubs of the official package."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from kerasrec.serving.json_tensors import make_example
from kerasrec.serving.signature_defs import CLASSIFY, REGRESS


@pytest.fixture(scope="module")
def channel(serving, hand_made):
    with (
        serving(hand_made, max_body_mib=0.1) as client,
        grpc.insecure_channel(f"127.0.0.1:{client.grpc_port}") as channel,
    ):
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict_request(x, signature="", name="half"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
    return request


def examples(request, *rows):
    request.model_spec.name = "half"
    request.input.example_list.examples.extend(make_example({"x": x}) for x in rows)
    return request


def test_predict(stub):
    response = stub.Predict(predict_request(np.float32([1, 2])), timeout=300)
    assert response.model_spec.name == "half" and response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [2.5, 4.5]
    assert tf.make_ndarray(response.outputs["name_bytes"]).tolist() == [b"1.0", b"2.0"]
    request = predict_request(np.float32([1]))
    request.output_filter.append("y")
    request.model_spec.version.value = 1
    assert list(stub.Predict(request, timeout=300).outputs) == ["y"]


def test_classify_regress_and_both(stub):
    request = examples(regression_pb2.RegressionRequest(), 1.0, 2.0)
    request.model_spec.signature_name = "regress"
    result = stub.Regress(request, timeout=300).result
    assert [regression.value for regression in result.regressions] == [2.5, 4.5]
    request = examples(classification_pb2.ClassificationRequest(), 1.0)
    request.model_spec.signature_name = "classify"
    (row,) = stub.Classify(request, timeout=300).result.classifications
    assert [(c.label, c.score) for c in row.classes] == [("up", 2.5), ("down", -2.5)]
    both = inference_pb2.MultiInferenceRequest(input=request.input)
    for name, method in (("regress", REGRESS), ("classify", CLASSIFY)):
        task = both.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "half", name
    first, second = stub.MultiInference(both, timeout=300).results
    assert first.regression_result.regressions[0].value == 2.5
    assert second.classification_result.classifications[0].classes[1].score == -2.5


def test_metadata_and_status(stub, channel):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half"
    response = stub.GetModelMetadata(request, timeout=300)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(definitions)
    assert definitions.signature_def["regress"].method_name == REGRESS
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "half"
    service = model_service_pb2_grpc.ModelServiceStub(channel)
    (entry,) = service.GetModelStatus(status, timeout=300).model_version_status
    assert (entry.version, entry.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    status.model_spec.version.value = 9
    with pytest.raises(grpc.RpcError) as error:
        service.GetModelStatus(status, timeout=300)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"name": "other"}, "NOT_FOUND", "Servable not found"),
        ({"signature": "nothing"}, "INVALID_ARGUMENT", "not found in signature def"),
        ({"x": np.array([1.0])}, "INVALID_ARGUMENT", "expected float32 .*received float64"),
        ({"x": np.float32(1.0)}, "INVALID_ARGUMENT", r"of shape \(n\)"),
        ({"x": np.zeros(50_000, np.float32)}, "RESOURCE_EXHAUSTED", "larger"),
        ({"x": np.float32([-1]), "signature": "fragile"}, "INVALID_ARGUMENT", "negative"),
    ],
)
def test_garbage_is_refused(stub, change, code, message):
    with pytest.raises(grpc.RpcError, match=message) as error:
        stub.Predict(predict_request(**{"x": np.float32([1]), **change}), timeout=300)
    assert error.value.code() == grpc.StatusCode[code]


def test_requests_that_do_not_fit_the_method(stub):
    empty = regression_pb2.RegressionRequest()
    empty.model_spec.name = "half"
    empty.model_spec.signature_name = "regress"
    wrong = examples(regression_pb2.RegressionRequest(), 1.0)
    broken = predict_request(np.float32([1]))
    broken.inputs["x"].tensor_content = b"123"
    labelled = predict_request(np.float32([1]))
    labelled.model_spec.version_label = "stable"
    for call, request, message in (
        (stub.Regress, empty, "Input is empty"),
        (stub.Regress, wrong, "has the method"),
        (stub.Predict, broken, "input 'x'"),
        (stub.Predict, labelled, "version labels are not supported"),
    ):
        with pytest.raises(grpc.RpcError, match=message) as error:
            call(request, timeout=300)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
