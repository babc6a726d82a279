"""REST interface of TensorFlow Serving.

GET  /v1/models/NAME[/versions/N]                          status
GET  /v1/models/NAME[/versions/N]/metadata                 signatures
POST /v1/models/NAME[/versions/N]:predict|classify|regress
GET  /monitoring/prometheus/metrics
"""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from kerasrec.serving.artifact.signature_defs import METHODS, REGRESS
from kerasrec.serving.json_tensors import fill_rows, make_example, to_array, to_json
from kerasrec.serving.server import metrics
from kerasrec.serving.server.errors import HTTP_STATUS, ServingError, invalid, invalid_input
from kerasrec.serving.server.inference import Answer, Inference
from kerasrec.serving.server.signature import Signature, result_rows
from kerasrec.types import RAW_PADDING, Columns

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ASK = re.compile(r"([^/:]+)(?:/versions/([0-9]{1,19}))?:(predict|classify|regress)", re.I)
_SHOW = re.compile(r"([^/:]+)(?:/versions/([0-9]{1,19}))?(/metadata)?")


def application(inference: Inference) -> web.Application:
    """Return the application with all routes.

    Args:
        inference: runs the requests.
    """
    settings = inference.settings
    app = web.Application(
        client_max_size=int(settings.max_body_mib * 2**20),
        middlewares=[_errors, _authorised(settings.token())],
    )

    async def ask(request: web.Request) -> web.Response:
        match = _ASK.fullmatch(request.match_info["tail"])
        if match is None:
            raise invalid(f"Malformed request: POST {request.path}")
        name, version, verb = match[1], match[2], match[3].lower()
        with inference.observed(verb.capitalize(), "REST"):
            inference.check_model(name)
            body = _parse(await _read(request, settings.timeout_seconds))
            number = None if version is None else int(version)
            if verb == "predict":
                return _json(await _predict(inference, body, number))
            return _json(await _examples(inference, body, number, METHODS[verb]))

    async def show(request: web.Request) -> web.Response:
        match = _SHOW.fullmatch(request.match_info["tail"])
        if match is None:
            raise invalid(f"Malformed request: GET {request.path}")
        inference.check_model(match[1])
        number = None if match[2] is None else int(match[2])
        if match[3]:
            return _json(_metadata(inference, number))
        found = inference.versions.status(number)
        return _json(
            json_format.MessageToDict(
                found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
        )

    async def scrape(request: web.Request) -> web.Response:
        return web.Response(body=inference.metrics.page(), content_type="text/plain")

    app.router.add_post("/v1/models/{tail:.+}", ask)
    app.router.add_get("/v1/models/{tail:.+}", show)
    app.router.add_get(metrics.PATH, scrape)
    return app


async def _predict(
    inference: Inference, body: dict[str, Any], version: int | None
) -> dict[str, Any]:
    if ("instances" in body) == ("inputs" in body):
        raise invalid("expected one of the keys 'instances' and 'inputs'.")
    with inference.call(_name(body), version=version) as call:
        with invalid_input():
            arrays = _arrays(body, call.signature)
        answer = await call.run(arrays)
    if "inputs" in body:
        outputs = {key: to_json(array, key) for key, array in answer.outputs.items()}
        return {"outputs": outputs if len(outputs) != 1 else next(iter(outputs.values()))}
    return {"predictions": _rows(answer)}


async def _examples(
    inference: Inference, body: dict[str, Any], version: int | None, method: str
) -> dict[str, Any]:
    examples = body.get("examples")
    if not isinstance(examples, list) or not examples:
        raise invalid("expected a list of objects under the key 'examples'.")
    with inference.call(_name(body), version=version) as call:
        name = call.signature.example_input(method)
        with invalid_input():
            context = make_example(body.get("context", {})).SerializeToString()
            array = np.empty(len(examples), object)
            array[:] = [context + make_example(e).SerializeToString() for e in examples]
        answer = await call.run({name: array})
    found = result_rows(answer.signature, answer.outputs, len(examples))
    if method == REGRESS:
        return {"results": found["outputs"].tolist()}
    shape = next(iter(found.values())).shape
    labels = to_json(found["classes"], "") if "classes" in found else np.full(shape, "").tolist()
    scores = found.get("scores", np.zeros(shape, np.float32)).tolist()
    return {
        "results": [
            [list(pair) for pair in zip(*row, strict=True)]
            for row in zip(labels, scores, strict=True)
        ]
    }


def _arrays(body: dict[str, Any], signature: Signature) -> Columns:
    if "instances" in body:
        return _columns(_from_rows(body["instances"], signature), signature)
    inputs = body["inputs"]
    if not isinstance(inputs, dict) or set(inputs) == {"b64"}:
        inputs = {_only(signature): inputs}
    return _columns(inputs, signature)


def _from_rows(instances: Any, signature: Signature) -> dict[str, list[Any]]:
    """Return the values by input from a list of rows."""
    if not isinstance(instances, list) or not instances:
        raise invalid("expected a list with values under the key 'instances'.")
    if not isinstance(instances[0], dict) or set(instances[0]) == {"b64"}:
        return {_only(signature): instances}
    for index, row in enumerate(instances):
        difference = signature.difference(row if isinstance(row, dict) else ())
        if difference or not isinstance(row, dict):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. Keys must be equal to "
                f"{list(signature.inputs)}: {difference}."
            )
    return {key: [row[key] for row in instances] for key in signature.inputs}


def _columns(values: dict[str, Any], signature: Signature) -> Columns:
    signature.check_names(values)
    arrays = {}
    for key, port in signature.inputs.items():
        value = values[key]
        if signature.pads(port) and port.shape is not None:
            value = fill_rows(value, RAW_PADDING[port.dtype.name], port.shape[2:])
        try:
            array = to_array(value, port.dtype)
        except ValueError as error:
            raise invalid(f"input {key!r}: {error}") from error
        # `[[], []]` and `[]` do not show their depth.
        if array.size == 0 and port.shape is not None and array.ndim < len(port.shape):
            array = array.reshape(array.shape + (0,) * (len(port.shape) - array.ndim))
        arrays[key] = array
    return arrays


def _rows(answer: Answer) -> list[Any]:
    lists = {key: to_json(array, key) for key, array in answer.outputs.items()}
    lengths = {len(a) if a.ndim else None for a in answer.outputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise invalid("the outputs have no common batch size. Use 'inputs'.")
    if len(lists) == 1:
        rows: list[Any] = next(iter(lists.values()))
        return rows
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _only(signature: Signature) -> str:
    if len(signature.inputs) != 1:
        raise invalid(
            f"expected an object by input name, as signature {signature.name!r} takes "
            f"{list(signature.inputs)}."
        )
    return next(iter(signature.inputs))


def _name(body: dict[str, Any]) -> str:
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' must be a string.")
    return name


def _metadata(inference: Inference, number: int | None) -> dict[str, Any]:
    with inference.versions.use(number) as served:
        definitions = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in served.loaded.signatures.items():
            definitions.signature_def[name].CopyFrom(signature.definition)
        version = str(served.loaded.number)
    found = json_format.MessageToDict(
        definitions, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {
        "model_spec": {"name": inference.model_name, "signature_name": "", "version": version},
        "metadata": {"signature_def": found},
    }


async def _read(request: web.Request, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError as error:
        raise ServingError("DEADLINE_EXCEEDED", "the body did not arrive in time.") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise ServingError("RESOURCE_EXHAUSTED", "the body is too large.") from error


def _parse(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(body, dict):
        raise invalid("JSON Parse error: expected an object.")
    return body


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type="application/json"
    )


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ServingError as error:
        too_large = isinstance(error.__cause__, web.HTTPRequestEntityTooLarge)
        return _json({"error": error.message}, 413 if too_large else HTTP_STATUS[error.code])
    except web.HTTPException as error:
        return _json({"error": error.reason}, error.status)


def _authorised(token: str | None) -> Any:
    wanted = None if token is None else f"Bearer {token}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The page itself holds no data. Its requests carry the token.
        if wanted is not None and request.path != "/":
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, wanted):
                raise ServingError("UNAUTHENTICATED", "missing or invalid bearer token.")
        return await handler(request)

    return middleware
