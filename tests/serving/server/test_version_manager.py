"""Versions come and go while requests are served."""

import os
import shutil
import threading
import time

import pytest

from kerasrec.serving import rollback
from kerasrec.serving.server.version_manager import VersionManager


@pytest.fixture
def versions(hand_made, save_hand_made, tmp_path):
    """A folder with version 1, and a function that adds one that answers c for x = 0."""
    base = shutil.copytree(hand_made, tmp_path / "half")

    def add(number):
        save_hand_made(base / ".new", number)
        os.rename(base / ".new", base / str(number))

    return base, add


def wait_for(condition):
    end = time.monotonic() + 600  # far beyond what a slow machine needs
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def version_of(client):
    entries = client.get()[1]["model_version_status"]
    (available,) = [int(e["version"]) for e in entries if e["state"] == "AVAILABLE"]
    return available


def test_swaps_under_load_fail_no_request(versions, serving):
    base, add = versions
    with serving(base, poll_seconds=0.05) as client:
        stop, answers, failures = threading.Event(), [], []

        def ask():
            while not stop.is_set():
                status, found = client.post({"signature_name": "fragile", "inputs": [0.0, 0.0]})
                (answers if status == 200 else failures).append(found)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: answers)
        for number in (2, 3):
            add(number)
            # Served, and asked: clients that get no turn in between would see the next one only.
            wait_for(lambda number=number: version_of(client) == number)
            wait_for(lambda number=number: {"outputs": [number, number]} in answers)
        rollback(base, to=2)
        wait_for(lambda: version_of(client) == 2)
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        # Each answer is of one version, and all versions answered.
        pairs = {tuple(answer["outputs"]) for answer in answers}
        assert pairs == {(0.5, 0.5), (2.0, 2.0), (3.0, 3.0)}
        wait_for(lambda: client.get("/versions/3")[1]["model_version_status"][0]["state"] == "END")


def test_a_version_that_does_not_load_changes_nothing(versions, serving, monkeypatch):
    base, add = versions
    looks, refresh = [], VersionManager.refresh

    async def counted(self):
        await refresh(self)
        looks.append(None)

    monkeypatch.setattr(VersionManager, "refresh", counted)
    with serving(base, poll_seconds=0.05) as client:
        broken = base / "7"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"nonsense")
        wait_for(lambda: client.get("/versions/7")[0] == 200)
        wait_for(lambda: client.get("/versions/7")[1]["model_version_status"][0]["state"] == "END")
        (entry,) = client.get("/versions/7")[1]["model_version_status"]
        assert "not readable as a SavedModel" in entry["status"]["error_message"]
        assert version_of(client) == 1
        # One below the broken one is newer than what is served.
        add(2)
        wait_for(lambda: version_of(client) == 2)
        # An emptied folder is served on.
        for name in ("1", "2", "7"):
            shutil.rmtree(base / name)
        # The first of these looks may have begun before.
        seen = len(looks)
        wait_for(lambda: len(looks) >= seen + 2)
        assert client.post({"signature_name": "fragile", "inputs": [0.0]})[0] == 200


def test_the_checksums_of_our_exports_are_checked(own_movies, serving):
    (own_movies / "1" / "assets" / "user_id.txt").write_text("changed")
    message = "no version .* can be served.*user_id.txt has changed"
    with pytest.raises(ValueError, match=message), serving(own_movies):
        pass
