"""Server in a separate process, for the length of a `with` block."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO

from kerasrec.server.settings import Settings
from kerasrec.serving.commands import served_base, served_name
from kerasrec.serving.versions import StrPath


@dataclasses.dataclass(frozen=True)
class LocalServer:
    """A server running on this machine.

    Attributes:
        name: name of the served model.
        host: address it listens on.
        rest_port: port of the REST interface.
        grpc_port: port of the gRPC interface.
        pid: id of its process.
    """

    name: str
    host: str
    rest_port: int
    grpc_port: int
    pid: int

    @property
    def url(self) -> str:
        """Return the URL of predict requests."""
        return f"http://{self.host}:{self.rest_port}/v1/models/{self.name}:predict"


@contextlib.contextmanager
def background(
    directory: StrPath,
    *,
    name: str | None = None,
    settings: Settings | None = None,
    ready_seconds: float = 120.0,
) -> Iterator[LocalServer]:
    """Run `kerasrec serve` in a separate process for the length of the block.

    Meant for notebooks and tests. The server is ready when the block begins.

    Args:
        directory: the folder that holds the versions.
        name: name of the served model; that of the folder if None.
        settings: as for `serve`; free ports are chosen by default.
        ready_seconds: timeout for the server to become ready.

    Raises:
        ValueError: if there is no version, or the server ends or is not ready in time. The message
            holds the last output of the server.

    Example:

        with background("served/mf") as server:
            urllib.request.urlopen(server.url, pathlib.Path("request.json").read_bytes())
    """
    settings = settings or Settings(rest_port=0, grpc_port=0)
    base = served_base(directory)
    name = served_name(base, name)
    command = [sys.executable, "-m", "kerasrec.cli", "serve", str(base), f"--name={name}"]
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if value != field.default:
            command.append(f"--{field.name}={value}")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            ports = _ports(process, log, time.monotonic() + ready_seconds)
            yield LocalServer(name, settings.host, *ports, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(settings.grace_seconds + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ports(process: "subprocess.Popen[bytes]", log: IO[bytes], end: float) -> tuple[int, int]:
    """Return the ports that the server logs once it is ready."""
    while process.poll() is None and time.monotonic() < end:
        for line in _lines(log):
            with contextlib.suppress(json.JSONDecodeError):
                record = json.loads(line)
                if record["event"] == "ready":
                    return record["rest_port"], record["grpc_port"]
        time.sleep(0.05)
    state = "not ready in time" if process.poll() is None else f"ended with {process.returncode}"
    last = "\n".join(_lines(log)[-5:])
    raise ValueError(f"background: the server is {state}. It wrote last:\n{last}")


def _lines(log: IO[bytes]) -> list[str]:
    """Return all lines written so far, without moving the server's file position."""
    number = log.fileno()
    text = os.pread(number, os.fstat(number).st_size, 0)
    return text.decode("utf-8", "replace").splitlines()
