"""The commands that serve and ask a model."""

import json
import pathlib
import shlex

import pytest

from kerasrec.serving import curl_command, serve_command


def test_docker_mounts_the_folder_of_the_versions(mf_version):
    version, _ = mf_version
    expected = [
        *("docker", "run", "--rm", "-p", "8500:8500", "-p", "9000:8501", "--mount"),
        f"type=bind,source={version.parent},target=/models/movies,readonly",
        *("-e", "MODEL_NAME=movies", "tensorflow/serving"),
    ]
    for directory in (version.parent, version):
        assert shlex.split(serve_command(directory, rest_port=9000)) == expected


def test_odd_paths_are_quoted(tmp_path):
    folder = tmp_path / 'my "films", new'
    (folder / "3").mkdir(parents=True)
    (folder / "3" / "saved_model.pb").touch()
    words = shlex.split(serve_command(folder))
    source = str(folder).replace('"', '""')
    assert words[8] == f'type=bind,"source={source}",target=/models/my__films___new,readonly'


def test_the_request_is_json_for_a_known_user(mf_version):
    version, case = mf_version
    words = shlex.split(curl_command(version.parent, host="example.org", name="m"))
    assert words[:4] == ["curl", "-X", "POST", "http://example.org:8501/v1/models/m:predict"]
    body = json.loads(words[-1])
    assert body["signature_name"] == "recommend"
    assert body["inputs"]["user"] == ["ann"]
    (excluded,) = body["inputs"]["exclude"]
    assert len(excluded) == 1 and excluded[0] in case.vocabularies["item"].ids


def test_a_table_is_asked_for_a_prediction(table_export):
    words = shlex.split(curl_command(table_export[1].path))
    body = json.loads(words[-1])
    assert body["signature_name"] == "predict"
    assert body["inputs"]["country"][0] in ("de", "fr") and len(body["inputs"]["tags"][0]) == 3


def test_a_version_of_vectors_alone_has_no_request(tmp_path, make_case):
    path = make_case("mf").export(tmp_path, signatures=["item_embedding"])
    with pytest.raises(ValueError, match=r"`recommend` or `predict`; received \['item_embedding'"):
        curl_command(path)


def test_what_cannot_be_served_is_refused(tmp_path, mf_version):
    with pytest.raises(ValueError, match="expected numbered versions"):
        serve_command(tmp_path)
    with pytest.raises(
        ValueError, match="rest_port must be an integer from 1 to 65535; received 0"
    ):
        serve_command(mf_version[0], rest_port=0)
    with pytest.raises(ValueError, match="name must be made of ASCII"):
        curl_command(mf_version[0], name="a/b")
    pathlib.Path(tmp_path, "saved_model.pb").touch()
    with pytest.raises(ValueError, match="serves numbered versions"):
        serve_command(tmp_path)
