"""Tokens, TLS, time limits, the command line and how it ends."""

import asyncio
import contextlib
import http.client
import io
import json
import logging
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from kerasrec.cli import main
from kerasrec.serving.server import Settings
from kerasrec.serving.server.app import page_url, running
from kerasrec.serving.server.logs import log_to_stderr
from kerasrec.serving.server.model_version import ModelVersion


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    try:
        subprocess.run([*command.split(), *names, *files], cwd=folder, check=True, stderr=-3)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder / "cert.pem", folder / "key.pem"


def model_status(channel, **kwargs):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half"
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    return stub.GetModelStatus(request, timeout=300, **kwargs)


def test_without_the_token_there_is_nothing_to_see(hand_made, serving, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    good, bad = {"Authorization": "Bearer s3cret"}, {"Authorization": "Bearer s3cre"}
    with serving(hand_made, token_file=str(token)) as client:
        for headers, status in ((good, 200), (bad, 401), ({}, 401)):
            assert client.post({"instances": [1.0]}, headers=headers)[0] == status
            assert client.get(headers=headers)[0] == status
            for path in ("/monitoring/prometheus/metrics", "/page/about"):
                assert client.raw("GET", path, headers=headers)[0] == status
        assert client.raw("GET", "/")[0] == 200
        with grpc.insecure_channel(f"127.0.0.1:{client.grpc_port}") as channel:
            assert model_status(channel, metadata=[("authorization", "Bearer s3cret")])
            for metadata in ([], [("authorization", "Bearer x")]):
                with pytest.raises(grpc.RpcError) as error:
                    model_status(channel, metadata=metadata)
                assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_tls(hand_made, serving, pair):
    certificate, key = pair
    with serving(hand_made, certificate_file=str(certificate), key_file=str(key)) as client:
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("localhost", client.rest_port, context=context)
        with contextlib.closing(connection):
            connection.request("GET", "/v1/models/half")
            assert connection.getresponse().status == 200
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{client.grpc_port}", credentials) as channel:
            assert model_status(channel)


def test_a_request_that_takes_too_long_is_given_up(hand_made, serving, monkeypatch):
    gate = threading.Event()
    run = ModelVersion.run

    def slow(self, signature, arrays):
        gate.wait(600)
        return run(self, signature, arrays)

    monkeypatch.setattr(ModelVersion, "run", slow)
    with serving(hand_made, timeout_seconds=1.0) as client:
        try:
            status, answer = client.post({"instances": [1.0]})
        finally:
            gate.set()
        assert (status, answer["error"]) == (504, "the request timed out.")
        assert 'status="DEADLINE_EXCEEDED"} 1' in client.metrics()
        # Runs of the graph may take longer than the limit on a busy machine, above all the first.
        end = time.monotonic() + 600
        while client.post({"instances": [1.0]})[0] != 200:
            assert time.monotonic() < end


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"max_rows": 0}, "max_rows must be above 0; received 0"),
        ({"rest_port": 70000}, "rest_port must be an integer from 1 to 65535"),
        ({"token_file": "nothing"}, "token_file: there is no file 'nothing'"),
        ({"certificate_file": __file__}, "both certificate_file and key_file"),
        ({"token_file": "/dev/null"}, "there is no file"),
    ],
)
def test_settings(flags, message):
    with pytest.raises(ValueError, match=message):
        Settings(**flags)


@pytest.mark.slow
def test_ports_that_are_taken(hand_made, serving):
    with serving(hand_made) as client:
        for port in ("rest_port", "grpc_port"):
            flags = {"rest_port": 0, "grpc_port": 0, port: getattr(client, port)}
            command = [f"--{name}={value}" for name, value in flags.items()]
            assert run_cli([str(hand_made), *command]).startswith(f"kerasrec: {port}: cannot li")


@pytest.mark.parametrize("name", ["rest_port", "grpc_port"])
def test_a_port_is_checked_before_anything_is_loaded(name, hand_made, monkeypatch):
    monkeypatch.setattr(ModelVersion, "__init__", None)  # loading would fail
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(**{"rest_port": 0, "grpc_port": 0, name: port})

        async def start():
            async with running(hand_made, "half", settings):
                pass

        with pytest.raises(ValueError, match=f"{name}: cannot listen on 127.0.0.1:{port}"):
            asyncio.run(start())


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_logs_are_for_people_on_a_terminal_and_json_elsewhere(stream, monkeypatch):
    monkeypatch.setattr("sys.stderr", stream())
    logger = logging.getLogger("kerasrec.serving.server")
    before = logger.handlers[:], logger.propagate, logger.level
    try:
        log_to_stderr()
        logger.info("ready", extra={"url": "http://127.0.0.1:8501/"})
        try:
            raise KeyError("x")
        except KeyError:
            logger.exception("request failed")
    finally:
        logger.handlers[:], logger.propagate = before[:2]
        logger.setLevel(before[2])
    text = sys.stderr.getvalue()
    if stream is Terminal:
        assert re.match(r"\d\d:\d\d:\d\d INFO     ready  url=http://127.0.0.1:8501/\n", text)
        assert "ERROR    request failed\nTraceback" in text
    else:
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["event"] for line in lines] == ["ready", "request failed"]
        assert lines[0]["url"] == "http://127.0.0.1:8501/" and "KeyError" in lines[1]["traceback"]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:81/"),
        ({"host": "::"}, "http://[::1]:81/"),
        ({"certificate_file": __file__, "key_file": __file__}, "https://127.0.0.1:81/"),
    ],
)
def test_the_address_of_the_page(settings, url):
    assert page_url(Settings(**settings), 81) == url


def run_cli(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "kerasrec.cli", "serve", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr.splitlines()[-1]


def test_nothing_to_serve(tmp_path, capsys):
    assert main(["serve", str(tmp_path)]) == 2
    assert "expected numbered versions" in capsys.readouterr().err


@pytest.fixture
def process(movies):
    """`kerasrec serve` in a process of its own, which does not outlive the test."""
    flags = ["--rest_port=0", "--grpc_port=0", "--log_requests=true"]
    command = [sys.executable, "-m", "kerasrec.cli", "serve", str(movies), *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


@pytest.mark.slow
def test_sigterm_ends_it_in_order(movies, process):
    records = []
    for line in process.stderr:
        records.append(json.loads(line))
        if records[-1]["event"] == "ready":
            break
    assert records[0]["event"] == "version is served" and records[0]["warmed_up"] >= 6
    connection = http.client.HTTPConnection("127.0.0.1", records[-1]["rest_port"])
    body = (movies / "1" / "requests" / "recommend.json").read_bytes()
    with contextlib.closing(connection):
        connection.request("POST", "/v1/models/movies:predict", body)
        answer = connection.getresponse()
        assert answer.status == 200 and b"item_id" in answer.read()
    process.send_signal(signal.SIGTERM)
    rest = [json.loads(line) for line in process.stderr]
    assert process.wait() == 0
    events = [record["event"] for record in rest]
    assert events == ["request", "stopping", "version is unloaded", "stopped"]
    request = rest[0]
    assert request["api"] == "Predict" and request["status"] == "OK" and request["ms"] > 0


def test_what_is_in_flight_is_answered_before_the_end(hand_made, serving, monkeypatch):
    began, gate, answers = threading.Event(), threading.Event(), []
    run = ModelVersion.run

    def slow(self, signature, arrays):
        began.set()
        gate.wait(30)
        return run(self, signature, arrays)

    monkeypatch.setattr(ModelVersion, "run", slow)
    with serving(hand_made) as client:
        ask = threading.Thread(target=lambda: answers.append(client.post({"instances": [1.0]})))
        ask.start()
        assert began.wait(30)
        threading.Timer(0.5, gate.set).start()
    # The block has ended, and with it the server.
    ask.join()
    assert answers[0][0] == 200
