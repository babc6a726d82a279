"""What lies beside the graph: warm-up requests, examples for REST, the card, checksums."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from kerasrec.serving.artifact import checksums, warmup
from kerasrec.serving.artifact.checksums import check_checksums
from kerasrec.serving.artifact.signature_defs import signature_defs
from kerasrec.serving.json_tensors import make_example, to_array


def run(path, requests):
    """Outputs of (signature, inputs), from a session as TensorFlow Serving has it."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        loaded = v1.saved_model.load(session, ["serve"], str(path))
        for signature, inputs in requests:
            definition = loaded.signature_def[signature]
            yield session.run(
                {name: info.name for name, info in definition.outputs.items()},
                {definition.inputs[name].name: array for name, array in inputs.items()},
            )


def serialized(examples):
    return [example.SerializeToString() for example in examples]


def test_every_signature_is_warmed_up_by_requests_that_run(features_export):
    path = features_export[1].path
    logs = list(warmup.read(path))
    requests = [getattr(log, log.WhichOneof("log_type")).request for log in logs]
    assert {request.model_spec.signature_name for request in requests} == set(signature_defs(path))
    assert {request.model_spec.name for request in requests} == {"movies"}
    arrays = [
        (r.model_spec.signature_name, {k: tf.make_ndarray(v) for k, v in r.inputs.items()})
        if isinstance(r, predict_pb2.PredictRequest)
        else (r.model_spec.signature_name, {"inputs": serialized(r.input.example_list.examples)})
        for r in requests
    ]
    sizes = [len(next(iter(answer.values()))) for answer in run(path, arrays)]
    assert set(sizes) == {1, 9}


def test_requests_for_rest_are_answered_as_recorded(features_export):
    path = features_export[1].path
    definitions = signature_defs(path)
    recorded = json.loads((path / "assets.extra" / "requests.json").read_text("utf-8"))
    files = sorted((path / "requests").iterdir())
    assert [file.stem for file in files] == sorted(definitions)
    for file in files:
        body = json.loads(file.read_text("utf-8"))
        assert body["signature_name"] == file.stem
        if "examples" in body:
            examples = [make_example(example) for example in body["examples"]]
            inputs = {"inputs": serialized(examples)}
        else:
            inputs = {
                name: to_array(value, tf.as_dtype(definitions[file.stem].inputs[name].dtype))
                for name, value in body["inputs"].items()
            }
        (answer,) = run(path, [(file.stem, inputs)])
        first = next(r for r in recorded["requests"] if r["signature"] == file.stem)
        (name,) = {"score", "outputs"} & set(answer)
        np.testing.assert_allclose(answer[name], first["answers"][name][:2], rtol=1e-5)


def test_the_checksums_are_those_of_sha256sum(tmp_path, mf_version):
    path = shutil.copytree(mf_version[0], tmp_path / "1")
    check_checksums(path)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", checksums.FILE_NAME], cwd=path, check=False
    )
    assert done.returncode == 0
    named = {line[66:] for line in (path / checksums.FILE_NAME).read_text().splitlines()}
    files = {str(f.relative_to(path)) for f in path.rglob("*") if f.is_file()}
    assert named == files - {checksums.FILE_NAME}
    (path / "assets" / "user.txt").write_text("other")
    (path / "schema.json").unlink()
    with pytest.raises(
        ValueError, match=r"damaged: assets/user.txt has changed; schema.json is missing\. Restore"
    ):
        check_checksums(path)
    (path / checksums.FILE_NAME).unlink()
    with pytest.raises(ValueError, match="no readable SHA256SUMS"):
        check_checksums(path)


def test_the_card_says_what_the_caller_knows_and_what_the_model_is(tmp_path, make_case):
    case = make_case("mf")
    card = {"metrics": [{"model": "mf", "ndcg@10": 0.05831}], "licence": "CC BY 4.0"}
    text = (case.export(tmp_path, card=card) / "model_card.md").read_text("utf-8")
    assert text.startswith("# MatrixFactorization\n")
    assert '"embedding_dim": 4' in text and f"tensorflow {tf.__version__}" in text
    assert "| model | ndcg@10 |\n| --- | --- |\n| mf | 0.05831 |" in text
    assert "CC BY 4.0" in text and "popular items" in text
    assert "- `item`: 7 ids, of 19 training rows" in text
    with pytest.raises(ValueError, match=r"has the sections .*; received \['license'\]"):
        case.export(tmp_path, card={"license": "MIT"})


def test_a_damaged_warm_up_is_told(tmp_path, mf_version):
    path = shutil.copytree(mf_version[0], tmp_path / "1")
    file = path / warmup.FILE_NAME
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match="is damaged"):
        list(warmup.read(path))
    file.unlink()
    assert list(warmup.read(path)) == []
