import importlib.metadata
import json

import keras
import pytest

import kerasrec
from kerasrec.cli import doctor, main


def states(document):
    return {check["name"]: check["state"] for check in document["checks"]}


def quick(capsys):
    code = main(["doctor", "--train", "false", "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_healthy_environment_trains_exports_and_verifies(capsys, monkeypatch):
    monkeypatch.delenv("KERASREC_DATA", raising=False)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "ok       training   loss " in out
    assert "signatures agree" in out
    assert out.endswith("kerasrec works here.\n")


def test_a_folder_of_data_that_is_not_there_fails(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KERASREC_DATA", str(tmp_path / "nowhere"))
    code, found = quick(capsys)
    assert (code, found["ok"], states(found)["data"]) == (1, False, "failed")
    # Nothing is tried on what is known not to work.
    assert states(found)["backend"] == "ok"


def test_a_cache_that_cannot_be_written_fails(capsys, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("KERASREC_CACHE", str(file / "cache"))
    code, found = quick(capsys)
    assert (code, states(found)["cache"]) == (1, "failed")
    assert "KERASREC_CACHE" in next(c["fix"] for c in found["checks"] if c["name"] == "cache")


def test_another_backend_fails_and_nothing_is_trained(capsys, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "failed   backend    Keras uses jax. Unset KERAS_BACKEND" in out
    assert "warning  training   not tried." in out
    assert "1 of " in out.splitlines()[-1]


def test_missing_and_old_packages_are_named(monkeypatch):
    true = importlib.metadata.version

    def version(name):
        if name == "pyarrow":
            raise importlib.metadata.PackageNotFoundError
        return "1.0" if name == "keras" else true(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    (check,) = doctor.packages()
    assert check.state == "failed"
    assert "pyarrow is missing" in check.found
    assert "keras 1.0 is installed, <3.17,>=3.15 is needed" in check.found


def test_a_missing_extra_is_a_warning_with_its_command(monkeypatch):
    true = importlib.metadata.version

    def version(name):
        if name == "aiohttp":
            raise importlib.metadata.PackageNotFoundError
        return true(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    (check,) = (check for check in doctor.extras() if "[serve]" in check.found)
    assert check.state == "warning"
    assert check.found == "[serve] aiohttp is missing."
    assert check.fix == 'For this: pip install "kerasrec[serve]"'


def test_a_training_that_fails_says_why(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(kerasrec.datasets, "load", broken)
    check = doctor.training()
    assert check.state == "failed"
    assert check.found == "RuntimeError: no kernel"
