import json
import urllib.request

import pytest

from kerasrec.serving.server import Settings, background


@pytest.mark.slow
def test_it_answers_inside_the_block_and_has_ended_after_it(movies):
    body = (movies / "1" / "requests" / "recommend.json").read_bytes()
    with background(movies, ready_seconds=600.0) as server:
        assert server.url == f"http://127.0.0.1:{server.rest_port}/v1/models/movies:predict"
        with urllib.request.urlopen(server.url, body) as response:
            assert "item_id" in json.load(response)["outputs"]
    with pytest.raises(OSError):
        urllib.request.urlopen(server.url, body)


@pytest.mark.slow
def test_settings_reach_it(movies, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    settings = Settings(rest_port=0, grpc_port=0, token_file=str(token))
    with (
        background(movies, name="films", settings=settings, ready_seconds=600.0) as server,
        pytest.raises(urllib.error.HTTPError, match="401"),
    ):
        assert "/films:predict" in server.url
        urllib.request.urlopen(server.url, b"{}")


@pytest.mark.slow
def test_what_it_wrote_is_told_if_it_ends(hand_made):
    settings = Settings(rest_port=0, grpc_port=0)
    with background(hand_made, settings=settings, ready_seconds=600.0) as first:
        taken = Settings(rest_port=first.rest_port, grpc_port=0)
        with pytest.raises(ValueError, match="ended with 2. It wrote last:(.|\n)*cannot listen"):
            background(hand_made, settings=taken, ready_seconds=600.0).__enter__()


def test_a_directory_without_versions(tmp_path):
    with pytest.raises(ValueError, match="expected numbered versions"):
        background(tmp_path).__enter__()


def test_a_server_that_is_too_slow(movies):
    with pytest.raises(ValueError, match="not ready in time"):
        background(movies, ready_seconds=0.0).__enter__()
