"""A C++ program with TensorFlow's own loader runs every signature and answers as Keras did."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.serving.artifact import recorded_requests, warmup
from kerasrec.serving.artifact.signature_defs import signature_defs


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    """The program, compiled against what the pip package of TensorFlow holds."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    library = pathlib.Path(tf.sysconfig.get_lib())
    shared = [library / "libtensorflow_cc.so.2", library / "libtensorflow_framework.so.2"]
    if not all(path.exists() for path in shared):
        pytest.skip(f"this TensorFlow comes without {shared[0].name}")
    program = tmp_path_factory.mktemp("loader") / "loader"
    source = pathlib.Path(__file__).with_name("loader.cc")
    flags = ["-std=c++17", "-O1", "-w", *tf.sysconfig.get_compile_flags()]
    # The session registers itself when its library is loaded; the linker would leave that out.
    links = ["-Wl,--no-as-needed", *map(str, shared), f"-Wl,-rpath,{library}"]
    subprocess.run(["g++", *flags, str(source), *links, "-o", str(program)], check=True)
    return program


def write_requests(path, folder):
    """The recorded requests as files of tensors; their names by folder."""
    definitions = signature_defs(path)
    requests = recorded_requests.read(path)["requests"]
    for place, request in enumerate(requests):
        target = folder / str(place)
        (target / "in").mkdir(parents=True)
        (target / "signature").write_text(request["signature"])
        arrays = warmup.request_arrays(request, definitions[request["signature"]])
        for name, array in arrays.items():
            data = tf.make_tensor_proto(array).SerializeToString()
            (target / "in" / name).write_bytes(data)
    return requests


def read_outputs(folder):
    return {
        file.name: tf.make_ndarray(tf.make_tensor_proto(0).FromString(file.read_bytes()))
        for file in (folder / "out").iterdir()
    }


@pytest.mark.slow
def test_the_loader_of_tensorflow_serving_runs_every_signature(loader, features_export, tmp_path):
    path = shutil.copytree(features_export[1].path, tmp_path / "1")
    folder = tmp_path / "requests"
    requests = write_requests(path, folder)
    # Of all that lies beside the graph it needs the vocabularies and nothing else.
    for name in ("assets.extra", "requests"):
        shutil.rmtree(path / name)
    for name in ("schema.json", "model_card.md", "SHA256SUMS", "fingerprint.pb"):
        (path / name).unlink()
    done = subprocess.run(
        [loader, path, folder], capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.split()) == set(signature_defs(path))
    for place, request in enumerate(requests):
        outputs = read_outputs(folder / str(place))
        assert set(outputs) == set(request["answers"])
        for name, expected in request["answers"].items():
            received = outputs[name]
            if received.dtype.kind == "f":
                np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)
            else:
                texts = np.vectorize(lambda v: v.decode() if isinstance(v, bytes) else v)
                assert texts(received).tolist() == expected, name
    shutil.rmtree(path / "assets")
    done = subprocess.run([loader, path, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "load: " in done.stderr
