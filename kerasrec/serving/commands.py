"""The commands that serve an exported model with TensorFlow Serving, and ask it."""

import json
import pathlib
import re
import shlex

from kerasrec._checks import check_integer
from kerasrec.serving import reference
from kerasrec.serving.versions import StrPath, find_version


def serve_command(
    directory: StrPath, *, name: str | None = None, rest_port: int = 8501, grpc_port: int = 8500
) -> str:
    """The shell command that serves a directory of versions with TensorFlow Serving.

    Args:
        directory: the folder that holds the versions.
        name: name of the served model; that of the folder if None.
        rest_port: port of the JSON interface.
        grpc_port: port of the gRPC interface.

    Raises:
        ValueError: if the directory holds no version, or the name or a port is not usable.
    """
    base = served_base(directory)
    name = served_name(base, name)
    check_integer("serve_command", "rest_port", rest_port, 1, 65535)
    check_integer("serve_command", "grpc_port", grpc_port, 1, 65535)
    source = f"source={base}"
    if re.search(r'[",]', source):  # Docker reads --mount as a line of CSV
        source = '"' + source.replace('"', '""') + '"'
    return shlex.join(
        [
            *("docker", "run", "--rm"),
            *("-p", f"{grpc_port}:8500"),
            *("-p", f"{rest_port}:8501"),
            "--mount",
            f"type=bind,{source},target=/models/{name},readonly",
            *("-e", f"MODEL_NAME={name}"),
            "tensorflow/serving",
        ]
    )


def curl_command(
    directory: StrPath, *, name: str | None = None, host: str = "localhost", rest_port: int = 8501
) -> str:
    """The shell command that asks the served model for recommendations, for a user it knows.

    Args:
        directory: the folder that holds the versions.
        name: name of the served model; that of the folder if None.
        host: where the server runs.
        rest_port: port of the JSON interface.

    Raises:
        ValueError: as for `serve_command`, or if the recorded requests cannot be read.
    """
    base = served_base(directory)
    check_integer("curl_command", "rest_port", rest_port, 1, 65535)
    requests = reference.read(find_version(directory))["requests"]
    # With exclusions, of which the first is an item and the rest padding and nonsense.
    inputs = [request["inputs"] for request in requests if request["signature"] == "recommend"][1]
    first = {key: value[:1] for key, value in inputs.items()}
    first["exclude"] = [first["exclude"][0][:1]]
    body = json.dumps({"signature_name": "recommend", "inputs": first}, ensure_ascii=False)
    url = f"http://{host}:{rest_port}/v1/models/{served_name(base, name)}:predict"
    return shlex.join(["curl", "-X", "POST", url, "-d", body])


def served_base(directory: StrPath) -> pathlib.Path:
    """The folder of versions that a server is given.

    Args:
        directory: that folder.

    Raises:
        ValueError: if it holds no version.
    """
    version = find_version(directory).resolve()
    if not re.fullmatch(r"[0-9]+", version.name):
        raise ValueError(
            f"TensorFlow Serving serves numbered versions; received {str(version)!r}. Export into "
            "the folder that is to hold them."
        )
    return version.parent


def served_name(base: pathlib.Path, name: str | None) -> str:
    """The name of a model in addresses.

    Args:
        base: the folder of versions.
        name: a name, or None for that of the folder.

    Raises:
        ValueError: if the name cannot be part of an address.
    """
    if name is None:
        return re.sub(r"[^A-Za-z0-9_.-]", "_", base.name) or "model"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ValueError(
            "name must be made of ASCII letters, digits, '_', '-' and '.', as it is part of an "
            f"address; received {name!r}."
        )
    return name
