"""TensorFlow Serving's gRPC interface: `PredictionService` and `ModelService`."""

import contextlib
import hmac
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from kerasrec.server.errors import ServingError, invalid
from kerasrec.server.inference import Answer, Inference
from kerasrec.server.loaded import example_array
from kerasrec.server.signature import Signature, result_rows
from kerasrec.server.status import model_status
from kerasrec.serving.signature_defs import CLASSIFY, REGRESS
from kerasrec.types import Columns


def make_server(inference: Inference) -> tuple[grpc.aio.Server, int]:
    """Return a server that is not started yet, and its port.

    Args:
        inference: runs the requests.

    Raises:
        ValueError: if the port is taken.
    """
    settings = inference.settings
    size = int(settings.max_body_mib * 2**20)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # two servers on one port would share its requests
        ],
        interceptors=[] if (token := settings.token()) is None else [_Authorised(token)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(inference), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(inference), server)
    address = f"{settings.host}:{settings.grpc_port}"
    try:
        if settings.certificate_file is None or settings.key_file is None:
            return server, server.add_insecure_port(address)
        pair = (
            pathlib.Path(settings.key_file).read_bytes(),
            pathlib.Path(settings.certificate_file).read_bytes(),
        )
        return server, server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        raise ValueError(f"grpc_port: cannot listen on {address}: {error}") from error


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Predict(self, request: Any, context: Any) -> Any:
        async with _call(self._inference, "Predict", context):

            def make_arrays(signature: Signature) -> Columns:
                return {key: _array(key, proto) for key, proto in request.inputs.items()}

            answer = await self._ask(request.model_spec, make_arrays, context)
            response = predict_pb2.PredictResponse()
            _fill(response.model_spec, self._inference, answer)
            wanted = request.output_filter or answer.outputs
            if unknown := sorted(set(wanted) - set(answer.outputs)):
                raise invalid(f"output_filter: unknown outputs {unknown}.")
            for key in wanted:
                response.outputs[key].CopyFrom(tf.make_tensor_proto(answer.outputs[key]))
            return response

    async def Classify(self, request: Any, context: Any) -> Any:
        async with _call(self._inference, "Classify", context):
            response = classification_pb2.ClassificationResponse()
            answer = await self._examples(request, CLASSIFY, response.result, context)
            _fill(response.model_spec, self._inference, answer)
            return response

    async def Regress(self, request: Any, context: Any) -> Any:
        async with _call(self._inference, "Regress", context):
            response = regression_pb2.RegressionResponse()
            answer = await self._examples(request, REGRESS, response.result, context)
            _fill(response.model_spec, self._inference, answer)
            return response

    async def MultiInference(self, request: Any, context: Any) -> Any:
        async with _call(self._inference, "MultiInference", context):
            response = inference_pb2.MultiInferenceResponse()
            for task in request.tasks:
                result = response.results.add()
                asked = classification_pb2.ClassificationRequest(
                    model_spec=task.model_spec, input=request.input
                )
                if task.method_name == CLASSIFY:
                    target = result.classification_result
                elif task.method_name == REGRESS:
                    target = result.regression_result
                else:
                    raise ServingError("UNIMPLEMENTED", f"no method {task.method_name!r}.")
                answer = await self._examples(asked, task.method_name, target, context)
                _fill(result.model_spec, self._inference, answer)
            return response

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        async with _call(self._inference, "GetModelMetadata", context):
            if list(request.metadata_field) != ["signature_def"]:
                raise invalid("metadata_field must be ['signature_def'].")
            self._inference.check_model(request.model_spec.name)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            definitions = get_model_metadata_pb2.SignatureDefMap()
            with self._inference.versions.use(_version(request.model_spec)) as served:
                for name, signature in served.loaded.signatures.items():
                    definitions.signature_def[name].CopyFrom(signature.definition)
                response.model_spec.name = self._inference.model_name
                response.model_spec.version.value = served.loaded.number
            response.metadata["signature_def"].Pack(definitions)
            return response

    async def _ask(
        self, spec: Any, make_arrays: Callable[[Signature], Columns], context: Any
    ) -> Answer:
        self._inference.check_model(spec.name)
        return await self._inference.run(
            spec.signature_name,
            make_arrays,
            version=_version(spec),
            timeout=context.time_remaining(),
        )

    async def _examples(self, request: Any, method: str, result: Any, context: Any) -> Answer:
        def make_arrays(signature: Signature) -> Columns:
            return {signature.example_input(method): example_array(request.input)}

        answer = await self._ask(request.model_spec, make_arrays, context)
        found = result_rows(answer.signature, answer.outputs, answer.rows)
        if method == REGRESS:
            for value in found["outputs"].tolist():
                result.regressions.add(value=value)
            return answer
        labels, scores = found.get("classes"), found.get("scores")
        for row in range(answer.rows):
            classes = result.classifications.add().classes
            for column in range(next(iter(found.values())).shape[1]):
                entry = classes.add()
                if labels is not None:
                    entry.label = labels[row, column].decode("utf-8", "replace")
                if scores is not None:
                    entry.score = scores[row, column]
        return answer


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        async with _call(self._inference, "GetModelStatus", context):
            self._inference.check_model(request.model_spec.name)
            return model_status(self._inference.versions, _version(request.model_spec))


class _Authorised(grpc.aio.ServerInterceptor):
    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "missing or invalid bearer token.")

        self._refuse = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        given = dict(details.invocation_metadata).get("authorization", "")
        raw = given if isinstance(given, bytes) else given.encode()
        if hmac.compare_digest(raw, self._wanted):
            return await continuation(details)
        return self._refuse


@contextlib.asynccontextmanager
async def _call(inference: Inference, api: str, context: Any) -> AsyncIterator[None]:
    try:
        with inference.observed(api, "GRPC"):
            yield
    except ServingError as error:
        await context.abort(grpc.StatusCode[error.code], error.message)


def _array(key: str, proto: Any) -> Any:
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid(f"input {key!r}: {error}") from error


def _version(spec: Any) -> int | None:
    if spec.WhichOneof("version_choice") == "version_label":
        raise invalid(f"version labels are not supported; received {spec.version_label!r}.")
    return spec.version.value if spec.HasField("version") else None


def _fill(spec: Any, inference: Inference, answer: Answer) -> None:
    spec.name = inference.model_name
    spec.signature_name = answer.signature.name
    spec.version.value = answer.version
