"""Shell commands that serve an exported model with TensorFlow Serving and query it."""

import json
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

from kerasrec._checks import check_integer
from kerasrec.serving.artifact import recorded_requests
from kerasrec.serving.artifact.versions import StrPath, find_version
from kerasrec.types import RAW_PADDING


def serve_command(
    directory: StrPath, *, name: str | None = None, rest_port: int = 8501, grpc_port: int = 8500
) -> str:
    """Return the shell command that serves a directory of versions with TensorFlow Serving.

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
    if re.search(r'[",]', source):  # Docker parses --mount as CSV
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
    """Return the shell command that requests recommendations for a known user.

    A table, which has no items to recommend, is asked for the prediction of a known row.

    Args:
        directory: the folder that holds the versions.
        name: name of the served model; that of the folder if None.
        host: host of the server.
        rest_port: port of the JSON interface.

    Raises:
        ValueError: as for `serve_command`, or if the recorded requests cannot be read, or hold
            neither `recommend` nor `predict`.
    """
    base = served_base(directory)
    check_integer("curl_command", "rest_port", rest_port, 1, 65535)
    recorded = recorded_requests.read(find_version(directory))
    names = [one["signature"] for one in recorded["requests"]]
    signature = "recommend" if "recommend" in names else "predict"
    if signature not in names:
        raise ValueError(
            "curl_command: expected a version with the signature `recommend` or `predict`; "
            f"received {sorted(set(names))}. Export the model again with one of them."
        )
    found = [one["inputs"] for one in recorded["requests"] if one["signature"] == signature]
    # With exclusions: the first is an item, the rest is padding and unknown ids.
    inputs = found[1] if signature == "recommend" else found[0]
    # The known user with the longest history, so that a model of histories has something to read.
    known = [at for at, kind in enumerate(recorded["rows"]) if kind == "known"]
    row = max(known or [0], key=lambda at: _filled(inputs, at))
    first = {key: value[row : row + 1] for key, value in inputs.items()}
    if signature == "recommend":
        first["exclude"] = [first["exclude"][0][:1]]
    body = json.dumps({"signature_name": signature, "inputs": first}, ensure_ascii=False)
    url = f"http://{host}:{rest_port}/v1/models/{served_name(base, name)}:predict"
    return shlex.join(["curl", "-X", "POST", url, "-d", body])


def served_base(directory: StrPath) -> pathlib.Path:
    """Return the folder of versions to serve.

    Args:
        directory: the folder that holds the versions.

    Raises:
        ValueError: if it holds no version.
    """
    version = find_version(directory).resolve()
    if not re.fullmatch(r"[0-9]+", version.name):
        raise ValueError(
            f"TensorFlow Serving serves numbered versions; received {str(version)!r}. Export into "
            "their parent folder."
        )
    return version.parent


def served_name(base: pathlib.Path, name: str | None) -> str:
    """Return the name of a served model, as used in URLs.

    Args:
        base: the folder of versions.
        name: a name, or None for that of the folder.

    Raises:
        ValueError: if the name cannot be part of a URL.
    """
    if name is None:
        return re.sub(r"[^A-Za-z0-9_.-]", "_", base.name) or "model"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ValueError(
            "name must be made of ASCII letters, digits, '_', '-' and '.', as it is part of an "
            f"address; received {name!r}."
        )
    return name


def _filled(inputs: Mapping[str, list[Any]], row: int) -> int:
    """Count the values of a row's histories and bags that are not padding."""
    lists = [
        values[row]
        for name, values in inputs.items()
        if name != "exclude" and isinstance(values[row], list)
    ]
    return sum(value not in RAW_PADDING.values() for values in lists for value in values)
