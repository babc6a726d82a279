"""Asks a served model, by REST or gRPC, with retries and deadlines.

    client = RestClient("https://localhost:8443", "MODEL", token="...", ca_file="certificate.pem")
    client.predict({"user_id": ["ann"], "exclude": [[]]}, signature="recommend")

`RestClient` needs nothing but Python; `GrpcClient` needs `pip install tensorflow-serving-api`.
Both speak to TensorFlow Serving and to `kerasrec serve`. A client may be used by many threads.
"""

import argparse
import http.client
import json
import random
import ssl
import sys
import threading
import time
import urllib.parse

# Failures of the moment: asked again, until the deadline.
RETRIED = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ServingError(Exception):
    """A request that failed; `code` is the name of its gRPC status."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class _Client:
    """Tries again what failed for the moment, with growing pauses, within one deadline."""

    def __init__(self, model, token, timeout, retries):
        self.model, self.token, self.timeout, self.retries = model, token, timeout, retries

    def _try(self, call, timeout):
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        for attempt in range(self.retries + 1):
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServingError("DEADLINE_EXCEEDED", "the deadline has passed")
            try:
                return call(left)
            except ServingError as error:
                # Clients that failed together should not come back together.
                pause = 0.05 * 2**attempt * random.uniform(0.5, 1.5)
                last = attempt == self.retries or time.monotonic() + pause > deadline
                if error.code not in RETRIED or last:
                    raise
                time.sleep(pause)
        raise AssertionError


class RestClient(_Client):
    """By REST.

    Args:
        url: such as "http://localhost:8501".
        model: name of the served model.
        token: bearer token, if the server or the proxy wants one.
        ca_file: PEM file of the certificate to trust, for https.
        timeout: seconds until a request must be answered, retries included.
        retries: how often a request is tried again.
    """

    def __init__(self, url, model, *, token=None, ca_file=None, timeout=5.0, retries=3):
        super().__init__(model, token, timeout, retries)
        self.address = urllib.parse.urlsplit(url)
        self.context = None
        if self.address.scheme == "https":
            self.context = ssl.create_default_context(cafile=ca_file)
        self._local = threading.local()

    def close(self):
        """Closes the connection of this thread."""
        if hasattr(self._local, "connection"):
            self._local.connection.close()

    def predict(self, inputs, *, signature="serving_default", version=None, timeout=None):
        """Outputs by name of inputs by name, batch first."""
        body = {"signature_name": signature, "inputs": inputs}
        outputs = self._post("predict", body, version, timeout)["outputs"]
        return outputs if isinstance(outputs, dict) else {"output": outputs}

    def classify(self, examples, *, signature="classify", version=None, timeout=None):
        """For each example the pairs of label and score."""
        body = {"signature_name": signature, "examples": examples}
        return self._post("classify", body, version, timeout)["results"]

    def regress(self, examples, *, signature="regress", version=None, timeout=None):
        """For each example a number."""
        body = {"signature_name": signature, "examples": examples}
        return self._post("regress", body, version, timeout)["results"]

    def versions(self, *, timeout=None):
        """State by version."""
        path = f"/v1/models/{self.model}"
        found = self._try(lambda left: self._request("GET", path, None, left), timeout)
        return {int(v["version"]): v["state"] for v in found["model_version_status"]}

    def _post(self, verb, body, version, timeout):
        where = "" if version is None else f"/versions/{version}"
        path = f"/v1/models/{self.model}{where}:{verb}"
        data = json.dumps(body).encode()
        return self._try(lambda left: self._request("POST", path, data, left), timeout)

    def _request(self, method, path, data, left):
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        # Predictions change nothing: a connection that the server closed meanwhile is made anew.
        for fresh in (False, True):
            connection = self._connection(fresh)
            connection.timeout = left
            if connection.sock is not None:
                connection.sock.settimeout(left)
            reused = connection.sock is not None
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                text = answer.read()
                break
            except TimeoutError as error:
                connection.close()
                raise ServingError("DEADLINE_EXCEEDED", str(error)) from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if not reused or fresh:
                    raise ServingError("UNAVAILABLE", str(error)) from error
        try:
            found = json.loads(text)
        except ValueError:
            found = {"error": text[:200].decode("utf-8", "replace")}
        if answer.status != 200:
            code = CODES.get(answer.status, "INTERNAL")
            raise ServingError(code, f"HTTP {answer.status}: {found.get('error', found)}")
        return found

    def _connection(self, fresh):
        if fresh or not hasattr(self._local, "connection"):
            host, port = self.address.hostname, self.address.port
            if self.context is None:
                self._local.connection = http.client.HTTPConnection(host, port)
            else:
                self._local.connection = http.client.HTTPSConnection(
                    host, port, context=self.context
                )
        return self._local.connection


class GrpcClient(_Client):
    """By gRPC.

    Args:
        address: such as "localhost:8500".
        model: name of the served model.
        token: bearer token, if the server or the proxy wants one.
        ca_file: PEM file of the certificate to trust; None for a connection without TLS.
        timeout: seconds until a request must be answered, retries included.
        retries: how often a request is tried again.
    """

    def __init__(self, address, model, *, token=None, ca_file=None, timeout=5.0, retries=3):
        super().__init__(model, token, timeout, retries)
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        if ca_file is None:
            self.channel = grpc.insecure_channel(address)
        else:
            with open(ca_file, "rb") as file:
                credentials = grpc.ssl_channel_credentials(file.read())
            self.channel = grpc.secure_channel(address, credentials)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self._status = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self._types = {}

    def close(self):
        """Closes the connection."""
        self.channel.close()

    def predict(self, inputs, *, signature="serving_default", version=None, timeout=None):
        """Outputs by name, as numpy arrays, of inputs by name, batch first."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        types = self._signature_types(signature, timeout)
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.model, signature
        if version is not None:
            request.model_spec.version.value = version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype=types.get(name)))
        response = self._call(self._prediction.Predict, request, timeout)
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def versions(self, *, timeout=None):
        """State by version."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.model
        response = self._call(self._status.GetModelStatus, request, timeout)
        state = get_model_status_pb2.ModelVersionStatus.State
        return {v.version: state.Name(v.state) for v in response.model_version_status}

    def _signature_types(self, signature, timeout):
        """Type by input; empty lists do not tell their own."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        if signature not in self._types:
            request = get_model_metadata_pb2.GetModelMetadataRequest(
                metadata_field=["signature_def"]
            )
            request.model_spec.name = self.model
            response = self._call(self._prediction.GetModelMetadata, request, timeout)
            definitions = get_model_metadata_pb2.SignatureDefMap()
            response.metadata["signature_def"].Unpack(definitions)
            for name, definition in definitions.signature_def.items():
                self._types[name] = {key: info.dtype for key, info in definition.inputs.items()}
        if signature not in self._types:
            raise ServingError("INVALID_ARGUMENT", f"no signature {signature!r}")
        return self._types[signature]

    def _call(self, method, request, timeout):
        import grpc

        metadata = [] if self.token is None else [("authorization", f"Bearer {self.token}")]

        def call(left):
            try:
                return method(request, timeout=left, metadata=metadata)
            except grpc.RpcError as error:
                raise ServingError(error.code().name, error.details()) from error

        return self._try(call, timeout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8501", help="or host:port for gRPC")
    parser.add_argument("--model", default="@MODEL@")
    parser.add_argument("--signature", default="recommend")
    parser.add_argument("--token", help="file of the bearer token")
    parser.add_argument("--ca", help="PEM file of the certificate to trust")
    parser.add_argument("inputs", help='such as \'{"user_id": ["ann"], "exclude": [[]]}\'')
    options = parser.parse_args()
    token = None
    if options.token:
        with open(options.token, encoding="utf-8") as file:
            token = file.read().strip()
    kind = RestClient if "://" in options.url else GrpcClient
    client = kind(options.url, options.model, token=token, ca_file=options.ca)
    try:
        outputs = client.predict(json.loads(options.inputs), signature=options.signature)
    except ServingError as error:
        sys.exit(str(error))
    for name, value in sorted(outputs.items()):
        print(name, value if isinstance(value, list) else value.tolist())


if __name__ == "__main__":
    main()
