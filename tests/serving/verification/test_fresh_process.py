"""The script of the fresh process; `test_verifying.py` runs it on real models."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from kerasrec.serving.graph.examples import make_examples
from kerasrec.serving.verification import fresh_process


def test_it_imports_nothing_but_the_standard_library_until_it_runs():
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='seen'); "
        "print([m for m in ('kerasrec', 'keras', 'tensorflow', 'numpy') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", code, fresh_process.__file__], capture_output=True, text=True
    )
    assert run.stdout.strip() == "[]"


def test_it_refuses_to_run_beside_kerasrec():
    with pytest.raises(SystemExit, match="must not hold .'kerasrec', 'keras'"):
        fresh_process.main("model", "requests", "result")


def test_operations_of_functions_are_seen(mf_version):
    used = fresh_process._operations(str(mf_version[0]))
    assert {"TopKV2", "LookupTableFindV2", "MatMul"} <= used
    assert not any(name.startswith("__inference") for name in used)


@pytest.mark.parametrize(
    "request_, message",
    [
        ({"signature": "x", "inputs": {}}, "no signature 'x'; there are"),
        ({"signature": "recommend", "inputs": {"user": ["a"]}}, "takes .'exclude', 'user'."),
    ],
)
def test_requests_must_fit_the_signatures(mf_version, request_, message):
    with pytest.raises(ValueError, match=message):
        fresh_process._run(str(mf_version[0]), [request_])


def test_unknown_operations_are_refused(mf_version, monkeypatch):
    monkeypatch.setattr(fresh_process, "_operations", lambda model: {"MatMul", "ScannSearch"})
    with pytest.raises(ValueError, match=r"stock TensorFlow lacks: \['ScannSearch'\]"):
        fresh_process._run(str(mf_version[0]), [])


def test_answers_are_plain_json():
    answer = fresh_process._lists({"item_id": tf.constant([["né".encode(), b""]]).numpy()})
    assert json.dumps(answer, ensure_ascii=False) == '{"item_id": [["né", ""]]}'


def warm_up(version, *records):
    file = version / fresh_process.WARM_UP_FILE
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def predict_log(signature, **inputs):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    for name, value in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log


def test_warm_up_requests_run(tmp_path, mf_version):
    path = shutil.copytree(mf_version[0], tmp_path / "1")
    example = make_examples({"user": np.array(["ann"], object)})[0]
    regress = prediction_log_pb2.PredictionLog()
    regress.regress_log.request.model_spec.signature_name = "regress"
    regress.regress_log.request.input.example_list.examples.add().MergeFromString(example)
    good = predict_log("recommend", user=["ann"], exclude=[[""]])
    warm_up(path, good, regress)
    assert fresh_process._run(str(path), [])["warmed"] == 2
    for bad, message in (
        (predict_log("recommend", user=["ann"]), "warm-up request 1: 'recommend' takes"),
        (predict_log("nothing"), "there is no signature 'nothing'"),
        (prediction_log_pb2.PredictionLog(), "is not a predict, classify or regress log"),
    ):
        warm_up(path, good, bad)
        with pytest.raises(ValueError, match=message):
            fresh_process._run(str(path), [])
