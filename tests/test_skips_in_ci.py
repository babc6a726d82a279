"""The plugin is tried on tests of its own, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SUITE = """
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("needs chromium")

@pytest.mark.skipif(True, reason="needs nginx")
def test_marked():
    pass

def test_inside():
    pytest.importorskip("nothing_of_that_name", reason="needs wandb")

@pytest.mark.xfail(reason="known")
def test_known():
    raise AssertionError

def test_data():
    pytest.skip("set KERASREC_DATA to a folder of data sets")
"""


def outcomes(folder, **environment):
    """Number of tests by outcome, and all that was written; an error is one before the test."""
    (folder / "test_suite.py").write_text(SUITE)
    whole = 'import pytest\npytest.skip("needs mlflow", allow_module_level=True)\n'
    (folder / "test_whole.py").write_text(whole)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KERASREC", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-p", "skips_in_ci", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [*command, "--continue-on-collection-errors", str(folder)],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(TESTS), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    line = done.stdout.strip().splitlines()[-1]
    words = line.split(" in ")[0].split(", ")
    return {word: int(count) for count, word in map(str.split, words)}, done.stdout


def test_what_is_skipped_fails_with_its_reason(tmp_path):
    found, text = outcomes(tmp_path, KERASREC_DATA="/data")
    assert found == {"passed": 1, "failed": 3, "xfailed": 1, "errors": 2}
    for reason in ("chromium", "nginx", "wandb", "mlflow"):
        assert f"was skipped on a build machine: Skipped: needs {reason}" in text
    assert "list it with the reason in tests/skips_in_ci.py" in text


def test_without_data_sets_their_tests_may_be_skipped(tmp_path):
    found, _ = outcomes(tmp_path)
    assert found == {"passed": 1, "failed": 2, "skipped": 1, "xfailed": 1, "errors": 2}


def test_what_could_not_be_installed_may_be_lacking(tmp_path):
    found, _ = outcomes(tmp_path, KERASREC_MAY_LACK="chromium nginx mlflow")
    assert found == {"passed": 1, "failed": 1, "skipped": 4, "xfailed": 1}


def test_a_listed_test_may_be_skipped(monkeypatch):
    import importlib.util

    spec = importlib.util.spec_from_file_location("listed", TESTS / "skips_in_ci.py")
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    monkeypatch.setenv("KERASREC_DATA", "/data")
    monkeypatch.delenv("KERASREC_MAY_LACK", raising=False)
    for name, reason in plugin.ALLOWED.items():
        assert (TESTS.parent / name.split("::")[0]).is_file() and reason
        assert plugin.allowed(f"{name}::test", "whatever")
    assert not plugin.allowed("tests/test_schema.py::test", "whatever")
    assert len(plugin.ALLOWED) <= 5, "the list is meant to be short"


def test_the_suite_uses_it_on_a_build_machine(request, monkeypatch):
    conftest = (TESTS / "conftest.py").read_text("utf-8")
    assert "skips_in_ci.py" in conftest
    taken = any(
        Path(getattr(plugin, "__file__", None) or "").name == "skips_in_ci.py"
        for plugin in request.config.pluginmanager.get_plugins()
    )
    if bool(os.environ.get("CI")) != taken:
        pytest.fail("tests/conftest.py takes skips_in_ci.py where CI is set, and only there")
