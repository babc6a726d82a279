"""The deployment kit: every file parses, names what exists, and its client asks a server."""

import contextlib
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

EXPORT = Path(__file__).parents[3] / "export"
# Metrics of TensorFlow Serving, from its sources; `kerasrec_` ones are ours.
TENSORFLOW_SERVING = {
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency",
    ":tensorflow:serving:runtime_latency",
    ":tensorflow:serving:batching_session:queuing_latency",
}
INT64, STRING, BOOL, MESSAGE = 3, 9, 8, 11
# The client gives up after 5 seconds, which a busy machine may need.
PATIENT = {"timeout": 300.0}


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    output = tmp_path_factory.mktemp("kit") / "kit"
    command = [sys.executable, EXPORT / "make_kit.py", "--model", "movies"]
    command += ["--versions", "/srv/My movies", "--output", output, "--cores", "2"]
    subprocess.run(command, check=True)
    return output


@pytest.fixture(scope="module")
def client_module(kit):
    return load_module(kit / "client.py")


def message(name, *fields):
    """A message of the package of TensorFlow Serving; its pip package lacks some of them."""
    made = descriptor_pb2.DescriptorProto(name=name)
    for field, number, kind, label in fields:
        entry = made.field.add(name=field, number=number, label=label)
        if isinstance(kind, str):
            entry.type, entry.type_name = MESSAGE, kind
        else:
            entry.type = kind
    return made


@pytest.fixture(scope="module")
def missing_messages():
    """BatchingParameters and MonitoringConfig, with the numbers of their .proto files."""
    wrapped = ".google.protobuf.Int64Value"
    file = descriptor_pb2.FileDescriptorProto(
        name="kit_test.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append("google/protobuf/wrappers.proto")
    file.message_type.extend(
        [
            message(
                "BatchingParameters",
                ("max_batch_size", 1, wrapped, 1),
                ("batch_timeout_micros", 2, wrapped, 1),
                ("max_enqueued_batches", 3, wrapped, 1),
                ("num_batch_threads", 4, wrapped, 1),
                ("thread_pool_name", 5, ".google.protobuf.StringValue", 1),
                ("allowed_batch_sizes", 6, INT64, 3),
                ("pad_variable_length_inputs", 7, BOOL, 1),
            ),
            message("PrometheusConfig", ("enable", 1, BOOL, 1), ("path", 2, STRING, 1)),
            message(
                "MonitoringConfig",
                ("prometheus_config", 1, ".tensorflow.serving.PrometheusConfig", 1),
            ),
        ]
    )
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    from google.protobuf import wrappers_pb2

    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    )


def test_text_protos(kit, missing_messages):
    text = (kit / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("movies", "/models/movies")
    assert model.model_version_policy.latest.num_versions == 1
    text = (kit / "batching.config").read_text()
    batching = text_format.Parse(text, missing_messages("BatchingParameters")())
    assert batching.num_batch_threads.value == 2 and not batching.pad_variable_length_inputs
    text = (kit / "monitoring.config").read_text()
    monitoring = text_format.Parse(text, missing_messages("MonitoringConfig")())
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"
    # The same texts are in the ConfigMap.
    (config_map, *_) = yaml.safe_load_all((kit / "kubernetes" / "serving.yaml").read_text())
    for name, embedded in config_map["data"].items():
        assert embedded.split() == (kit / name).read_text().split()


def test_every_file_parses_and_no_name_is_left_open(kit):
    files = [path for path in kit.rglob("*") if path.is_file()]
    assert len(files) >= 15
    for path in files:
        text = path.read_text("utf-8")
        assert not re.search(r"@[A-Z]+@", text), path
        if path.suffix in (".yaml", ".yml"):
            assert all(isinstance(part, dict) for part in yaml.safe_load_all(text)), path
        elif path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".py":
            compile(text, path, "exec")


def test_the_files_that_others_name_are_there(kit):
    compose = yaml.safe_load((kit / "compose.yaml").read_text())
    mounts = [v for s in compose["services"].values() for v in s.get("volumes", [])]
    for mount in mounts:
        source = mount.split(":")[0]
        if source.startswith("./") and source != "./secrets":
            assert (kit / source).exists(), mount
    assert "/srv/My movies:/models/movies:ro" in compose["services"]["serving"]["volumes"]
    scraped = yaml.safe_load((kit / "prometheus.yml").read_text())["scrape_configs"]
    hosts = {c["static_configs"][0]["targets"][0].split(":")[0] for c in scraped}
    assert hosts <= set(compose["services"])
    named = re.findall(r"^\| `([^|]+)` \|", (kit / "README.md").read_text(), re.M)
    for name in re.findall(r"[\w./]+", " ".join(named)):
        assert (kit / name).exists(), name


def buckets(page):
    """(upper bound, count) of the distribution of scores."""
    found = re.findall(r'kerasrec_score_bucket{.*le="([^"]*)".*} (\S+)', page)
    assert found
    return [(float(bound), float(count)) for bound, count in found]


def test_the_autoscaler_scales_what_is_deployed_by_a_metric_that_the_adapter_makes(kit):
    def read(name):
        return list(yaml.safe_load_all((kit / "kubernetes" / name).read_text()))

    deployed = {(d["kind"], d["metadata"]["name"]) for d in read("serving.yaml")}
    (scaler,) = read("autoscaling.yaml")
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in deployed
    (adapter,) = read("adapter.yaml")
    made = {rule["name"]["as"] for rule in adapter["rules"]["custom"]}
    assert {m["pods"]["metric"]["name"] for m in scaler["spec"]["metrics"]} == made


def test_alerts_and_dashboards_name_metrics_that_exist(kit, movies, serving, client_module):
    alerts = yaml.safe_load((kit / "alerts.yml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) >= 5
    dashboard = json.loads((kit / "grafana" / "dashboards" / "serving.json").read_text())
    expressions = [rule["expr"] for rule in alerts]
    expressions += [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    (adapter,) = yaml.safe_load_all((kit / "kubernetes" / "adapter.yaml").read_text())
    expressions += [rule["metricsQuery"] for rule in adapter["rules"]["custom"]]
    named = {
        re.sub(r"_(bucket|count|sum)$", "", name) if "latency" in name or "score" in name else name
        for text in expressions
        for name in re.findall(r"(?:[a-z]*:tensorflow[a-z_:]+|kerasrec_\w+)", text)
    }
    assert named == TENSORFLOW_SERVING | {"kerasrec_score"}
    with serving(movies) as client:
        rest = client_module.RestClient(f"http://127.0.0.1:{client.rest_port}", "movies", **PATIENT)
        rest.predict({"user_id": ["ann"], "exclude": [[]]}, signature="recommend")
        rest.close()
        text = client.metrics()
    for name in named:
        assert re.search(rf"^{name}(_bucket)?{{", text, re.M), name
    labels = set(re.findall(r"by \(([\w, ]+)\)", " ".join(expressions)))
    for label in {label for group in labels for label in group.split(", ")} - {"le"}:
        assert f'{label}="' in text, label


def test_the_client_by_rest_and_grpc(kit, hand_made, serving, tmp_path, client_module, monkeypatch):
    token = tmp_path / "token"
    token.write_text("s3cret")
    with serving(hand_made, token_file=str(token)) as server:
        url, address = f"http://127.0.0.1:{server.rest_port}", f"127.0.0.1:{server.grpc_port}"
        rest = client_module.RestClient(url, "half", token="s3cret", **PATIENT)
        grpc = client_module.GrpcClient(address, "half", token="s3cret", **PATIENT)
        for client in (rest, grpc):
            assert client.versions() == {1: "AVAILABLE"}
            for version in (None, 1):
                outputs = client.predict({"x": [1.0, 2.0]}, version=version)
                assert list(outputs["y"]) == [2.5, 4.5]
            for call, code in (
                (lambda c=client: c.predict({"x": ["a"]}), ("INVALID_ARGUMENT", "TypeError")),
                (lambda c=client: c.predict({"x": [1.0]}, signature="no"), ("INVALID_ARGUMENT",)),
                (lambda c=client: c.predict({"x": [1.0]}, version=5), ("NOT_FOUND",)),
            ):
                with pytest.raises((client_module.ServingError, TypeError)) as error:
                    call()
                assert getattr(error.value, "code", type(error.value).__name__) in code
        assert rest.regress([{"x": 1.0}]) == [2.5]
        assert rest.classify([{"x": 1.0}]) == [[["up", 2.5], ["down", -2.5]]]
        assert rest.predict({"x": [1.0]}, signature="fragile") == {"output": [1.5]}
        stranger = client_module.RestClient(url, "half", **PATIENT)
        with pytest.raises(client_module.ServingError) as error:
            stranger.versions()
        assert error.value.code == "UNAUTHENTICATED"
        stranger.close()
        command = [sys.executable, kit / "client.py", "--url", url, "--model", "half"]
        command += ["--signature", "fragile", "--token", token, '{"x": [1.0]}']
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "output [1.5]\n"
        grpc.close()
        rest.close()
    pauses = []
    monkeypatch.setattr(client_module.time, "sleep", pauses.append)
    with pytest.raises(client_module.ServingError) as error:
        rest.versions()
    assert error.value.code == "UNAVAILABLE" and len(pauses) == 3
    assert pauses == sorted(pauses) and pauses[0] >= 0.025
    with pytest.raises(client_module.ServingError) as error:
        rest.versions(timeout=0.0)
    assert error.value.code == "DEADLINE_EXCEEDED"


def test_the_probe_exports_scores_under_the_name_of_the_server(
    kit, movies, serving, monkeypatch, client_module
):
    monkeypatch.syspath_prepend(str(kit))
    probe = load_module(kit / "probe.py")
    signature, inputs, user = probe.example(movies)
    assert (signature, user) == ("recommend", "user_id")
    scores = probe.Scores("movies")
    with serving(movies) as server:
        client = client_module.RestClient(
            f"http://127.0.0.1:{server.rest_port}", "movies", **PATIENT
        )
        probe.ask(client, signature, inputs, user, ["ann", "bob", "né"], scores)
        client.close()
        ours = server.metrics()
    page = probe.serve(scores, 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{page.server_port}/metrics") as answer:
        text = answer.read().decode()
    page.shutdown()
    page.server_close()
    assert buckets(text) == buckets(ours)
    assert 'kerasrec_score_count{model_name="movies"} 3' in text
    assert 'kerasrec_probe_errors_total{model_name="movies"} 0' in text


@pytest.mark.parametrize("kind", ["logit", "rating"])
def test_the_probe_of_a_table_asks_for_predictions(
    kit, make_table, tmp_path, serving, monkeypatch, client_module, kind
):
    make_table(kind).export(tmp_path / "clicks")
    monkeypatch.syspath_prepend(str(kit))
    probe = load_module(kit / "probe.py")
    signature, inputs, user = probe.example(tmp_path / "clicks")
    assert (signature, user) == ("predict", None)
    scores = probe.Scores("clicks")
    with serving(tmp_path / "clicks") as server:
        address = f"http://127.0.0.1:{server.rest_port}"
        client = client_module.RestClient(address, "clicks", **PATIENT)
        probe.ask(client, signature, inputs, user, [], scores)
        client.close()
        ours = server.metrics()
    assert scores.errors == 0 and sum(scores.counts) == 2
    assert buckets(scores.page()) == buckets(ours)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "a b"], "ASCII letters"),
        (["--versions", "a:b"], "no quote, colon"),
        (["--cores", "0"], "at least 1"),
        (["--output", str(EXPORT)], "exists already"),
    ],
)
def test_names_that_cannot_be_used(flags, message, tmp_path):
    command = [sys.executable, EXPORT / "make_kit.py", "--model", "m", "--versions", "v"]
    command += ["--output", tmp_path / "kit", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and message in done.stderr
    assert list(tmp_path.iterdir()) == []


def wait_for_port(port, process):
    """Returns once somebody listens there, which must be the process."""
    end = time.monotonic() + 600
    while True:
        assert process.poll() is None and time.monotonic() < end
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("nginx") and shutil.which("openssl")), reason="nginx is not installed"
)
def test_the_proxy_lets_nobody_through_without_a_token(
    kit, movies, serving, tmp_path, client_module, free_ports
):
    rest_port, grpc_port = free_ports(2)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += [*names, "-out", "certificate.pem"]
    subprocess.run(command, cwd=secrets, check=True, stderr=subprocess.DEVNULL)
    (secrets / "token.conf").write_text('"Bearer s3cret" 1;\n')
    with serving(movies) as server:
        text = (kit / "nginx.conf").read_text()
        text = text.replace("serving:8501", f"127.0.0.1:{server.rest_port}")
        text = text.replace("serving:8500", f"127.0.0.1:{server.grpc_port}")
        text = text.replace("8443", str(rest_port)).replace("8444", str(grpc_port))
        version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True)
        if tuple(map(int, re.search(r"/(\d+)\.(\d+)", version.stderr).groups())) < (1, 25):
            text = text.replace("ssl;\n    http2 on;", "ssl http2;")
        log = f"error_log {tmp_path}/error.log;"
        text = f"daemon off; pid {tmp_path}/pid; {log}\n" + text
        (tmp_path / "nginx.conf").write_text(
            text.replace("server_tokens", "access_log off; server_tokens")
        )
        flags = ["-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", tmp_path / "error.log"]
        proxy = subprocess.Popen(["nginx", *flags])
        try:
            wait_for_port(rest_port, proxy)
            certificate = str(secrets / "certificate.pem")
            options = {"token": "s3cret", "ca_file": certificate, **PATIENT}
            rest = client_module.RestClient(f"https://localhost:{rest_port}", "movies", **options)
            grpc = client_module.GrpcClient(f"localhost:{grpc_port}", "movies", **options)
            inputs = {"user_id": ["ann"], "exclude": [[]]}
            first = rest.predict(inputs, signature="recommend")
            second = grpc.predict(inputs, signature="recommend")
            assert second["item_id"].tolist() == first["item_id"]
            grpc.close()
            options = {**options, "token": "other", "retries": 0}
            for client in (
                client_module.RestClient(f"https://localhost:{rest_port}", "movies", **options),
                client_module.GrpcClient(f"localhost:{grpc_port}", "movies", **options),
            ):
                with pytest.raises(client_module.ServingError) as error:
                    client.versions()
                assert error.value.code == "UNAUTHENTICATED"
                client.close()
            rest.close()
        finally:
            proxy.terminate()
            proxy.wait()
