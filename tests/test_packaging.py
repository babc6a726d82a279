"""What the project is made of beside its code: metadata, make targets, the build script."""

import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import kerasrec

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kerasrec"
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


@pytest.mark.parametrize(
    "name",
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"]
    + ["docs/architecture.md", "docs/conventions.md", "kerasrec/py.typed"],
)
def test_the_files_a_newcomer_looks_for_exist(name):
    assert (ROOT / name).stat().st_size or name.endswith("py.typed")


def test_all_metadata_is_in_setup_cfg():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "project" not in project
    assert set(project["tool"]) == {"ruff"}
    assert SETUP["metadata"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_version_is_written_once():
    assert SETUP["metadata"]["version"] == "attr: kerasrec.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", kerasrec.__version__)
    assert kerasrec.__version__ in (ROOT / "kerasrec/__init__.py").read_text()


def test_the_console_script_can_be_imported():
    name, target = SETUP["options.entry_points"]["console_scripts"].strip().split(" = ")
    module, function = target.split(":")
    assert name == "kerasrec"
    assert callable(getattr(importlib.import_module(module), function))


# Distributions whose modules have another name.
RENAMED = {
    "google": "protobuf",
    "grpc": "grpcio",
    "tensorflow_serving": "tensorflow_serving_api",
    "yaml": "pyyaml",
}


def declared(requirements):
    """Names of distributions, written as modules are."""
    return {name.lower().replace("-", "_") for name in re.findall(r"^[\w-]+", requirements, re.M)}


@pytest.fixture(scope="module")
def imported():
    """Distributions that the library imports."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        names |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text("utf-8"), re.M))
    names -= {*sys.stdlib_module_names, "kerasrec"}
    return {RENAMED.get(name, name) for name in names}


def test_everything_imported_is_declared(imported):
    extras = [SETUP["options.extras_require"][extra] for extra in ("plots", "serve")]
    assert imported <= declared("\n".join([SETUP["options"]["install_requires"], *extras]))


def test_what_nothing_imports_is_not_demanded(imported):
    core = declared(SETUP["options"]["install_requires"])
    # tensorflow-datasets imports it without declaring it.
    assert core - imported == {"importlib_resources"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_says_what_it_can_do():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("install", "demo", "test", "check"):
        assert f"make {target} " in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_interrupted_installation_leaves_no_stamp(tmp_path):
    """The stamp is written last: after a failing pip there is none, and the next make goes on."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    # Makes an environment whose pip fails the first time.
    python.write_text(
        "#!/bin/sh\n"
        '[ "$1" = -m ] || exit 0\n'
        "mkdir -p .venv/bin\n"
        "printf '#!/bin/sh\\n[ -e tried ] || { touch tried; exit 1; }\\n' > .venv/bin/python\n"
        "chmod +x .venv/bin/python\n"
    )
    python.chmod(0o755)

    def install(*more):
        command = ["make", "install", f"PYTHON={python}", *more]
        # The build script exports EXTRAS, and make its own flags.
        own = {k: v for k, v in os.environ.items() if k not in ("EXTRAS", "MAKEFLAGS", "MAKELEVEL")}
        return subprocess.run(
            command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False
        )

    stamp = tmp_path / ".venv/.installed"
    assert install().returncode != 0
    assert not stamp.exists()
    assert install().returncode == 0
    assert stamp.exists()
    assert "Nothing to be done" in install().stdout
    # What others installed lacks the packages of a build machine.
    assert '--editable ".[dev,ci]"' in install("EXTRAS=dev,ci").stdout
    assert "Nothing to be done" in install("EXTRAS=dev,ci").stdout


def test_the_build_script_is_executable_and_runs_the_tests():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def run_build_script(folder, *, user, programs):
    """Runs the script with stand-ins for all programs, and gives the calls in order."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", folder / ".ci/run")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    calls = folder / "calls"
    answers = {"id": f"echo {user}"}
    for name in ("make", "apt-get", "id", *programs):
        file = bin_folder / name
        line = answers.get(name, f'echo "{name} $@ $EXTRAS $KERASREC_MAY_LACK" >> {calls}')
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)
    for name in ("dirname", "bash"):
        (bin_folder / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [shutil.which("bash"), folder / ".ci/run"],
        env={"PATH": str(bin_folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split() for line in calls.read_text().splitlines()], done.stdout


MADE = [["make", target, "dev,ci"] for target in ("lint", "doctest", "docs", "test")]


def test_the_build_script_installs_what_is_lacking_where_it_is_root(tmp_path):
    calls, _ = run_build_script(tmp_path, user=0, programs=["chromium"])
    assert calls[0][:2] == ["apt-get", "update"]
    assert calls[1][:2] == ["apt-get", "install"] and "nginx-light" in calls[1]
    assert "chromium" not in calls[1]
    assert calls[2:] == MADE


def test_the_build_script_says_what_is_lacking_where_it_is_not_root(tmp_path):
    calls, text = run_build_script(tmp_path, user=1000, programs=["nginx"])
    assert calls == [[*call, "chromium"] for call in MADE]
    assert "tests that need one of these are skipped: chromium" in text


def test_the_build_script_installs_nothing_where_all_is_there(tmp_path):
    calls, text = run_build_script(tmp_path, user=0, programs=["nginx", "chromium"])
    assert calls == MADE and not text
