"""What the project is made of beside its code: metadata, make targets, the build script."""

import ast
import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import kerasrec
from kerasrec.datasets import cache_dir

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


def test_the_versions_of_python_are_those_that_were_tried():
    listed = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    (tried,) = re.findall(r"^- Tested on Linux with (.*)$", (ROOT / "README.md").read_text(), re.M)
    assert re.findall(r"3\.\d+", tried) == listed


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
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).split(".")[0])
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
    for target in ("install", "demo", "test", "check", "dist"):
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


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The files in `dist` that `make dist` writes in a copy of the sources."""
    pytest.importorskip("build", reason='needs build: pip install "kerasrec[dev]"')
    folder = tmp_path_factory.mktemp("sources")
    for name in ("Makefile", "MANIFEST.in", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(PACKAGE, folder / "kerasrec", ignore=shutil.ignore_patterns("__pycache__"))
    # The environment is there: nothing is installed.
    command = ["make", "dist", "--old-file=install", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return sorted((folder / "dist").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_dist_builds_a_wheel_and_a_source_distribution(distributions):
    wheel, source = distributions
    name = f"kerasrec-{kerasrec.__version__}"
    assert (wheel.name, source.name) == (f"{name}-py3-none-any.whl", f"{name}.tar.gz")
    ours = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as file:
        assert {n for n in file.namelist() if ".dist-info/" not in n} == ours
    with tarfile.open(source) as file:
        inside = {
            n.removeprefix(f"{name}/") for n in file.getnames() if not file.getmember(n).isdir()
        }
    assert {n for n in inside if n.startswith("kerasrec/")} == ours
    assert {"README.md", "LICENSE", "setup.cfg", "pyproject.toml"} <= inside
    assert not [n for n in inside if n.startswith("tests/")]


@pytest.mark.slow
@pytest.mark.skipif(
    not any(
        (Path(folder) / "ml-100k").is_dir()
        for folder in (os.environ.get("KERASREC_DATA", "/nowhere"), cache_dir())
    ),
    reason="movielens-100k is neither in KERASREC_DATA nor in the cache",
)
def test_the_demo_runs_from_the_wheel_alone(distributions, tmp_path):
    """Ratings become a served model: all that `make demo` promises, but for the time.

    In an environment of its own, which borrows the other packages from this one, away from here.
    """
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    site = tmp_path / "env" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # Path files in that folder are not read, such as the one by which kerasrec is installed here.
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    own = {name: v for name, v in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command):
        done = subprocess.run(
            command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    assert "None" in run(python, "-c", "import importlib.util as u; print(u.find_spec('kerasrec'))")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps"]
    run(*install, "--no-index", "--disable-pip-version-check", distributions[0])
    assert str(site) in run(python, "-c", "import kerasrec; print(kerasrec.__file__)")
    out = run(python.with_name("kerasrec"), "demo")
    names = re.search(r"^model +.*$", out, re.M)[0].split()
    rows = [line.split() for line in re.findall(r"^\w+(?: +\d\.\d{4})+$", out, re.M)]
    assert {len(row) for row in rows} == {len(names)}
    ndcg = {row[0]: float(row[names.index("ndcg@10")]) for row in rows}
    assert ndcg["MatrixFactorization"] > 1.15 * ndcg["Popularity"]
    assert ndcg["EmbeddingMLP"] > 1.15 * ndcg["Popularity"]
    assert ndcg["SASRec"] > 1.25 * ndcg["EASE"] > 1.6 * ndcg["Popularity"]
    assert "verified: every difference is within 1e-05" in out
    listed = out.partition("Ten others, from the exported model:\n")[2].splitlines()[:10]
    assert all(float(line.split()[0]) and "(19" in line for line in listed)
    served = tmp_path / "served" / "movielens-100k"
    assert f"source={served.resolve()}" in out
    assert "docker run" in out
    assert out.splitlines()[-1] == "kerasrec serve served/movielens-100k"
    assert (served / "1" / "saved_model.pb").is_file()
