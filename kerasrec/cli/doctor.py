"""`kerasrec doctor`: checks of this machine and environment."""

import contextlib
import dataclasses
import importlib.metadata
import io
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import kerasrec
from kerasrec.cli.output import Report
from kerasrec.cli.terminal import import_tensorflow, step

PYTHON = (3, 11)
MEMORY_GIB, DISK_GIB = 2, 1
# For people who work on kerasrec itself.
OWN_EXTRAS = ("dev", "docs", "benchmarks")


@dataclasses.dataclass(frozen=True)
class Check:
    """Result of one check.

    Args:
        name: name of the check.
        state: "ok", "warning" if something optional is missing or degraded, or "failed" if
            kerasrec does not work.
        found: what was found.
        fix: how to fix it.
    """

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8} {self.name:<10} {self.found} {self.fix}".rstrip()


def doctor(*, train: bool = True) -> Report:
    """Check this environment: versions, devices, folders, memory, and whether training works.

    The exit code is 1 if a check failed.

    Args:
        train: whether to train, export and verify a tiny model in a temporary folder.
    """
    looks: list[Callable[[], Iterator[Check]]] = [
        python,
        packages,
        folders,
        extras,
        memory,
        devices,
    ]
    checks = [check for look in looks for check in look()]
    works = not any(check.state == "failed" for check in checks)
    if train and works:
        with step("Training, exporting and verifying a tiny model"):
            checks.append(training())
    elif train:
        fix = "Fix the failures above first."
        checks.append(Check("training", "warning", "not tried.", fix))
    failed = sum(check.state == "failed" for check in checks)
    end = f"{failed} of {len(checks)} checks failed." if failed else "kerasrec works here."
    return Report(
        {"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]},
        "\n".join([*map(str, checks), end]),
        code=1 if failed else 0,
    )


def python() -> Iterator[Check]:
    """Check the version of Python."""
    found = f"{platform.python_version()}, {sys.executable}"
    good = sys.version_info >= PYTHON
    fix = "" if good else f"Install Python {'.'.join(map(str, PYTHON))} or newer."
    yield Check("python", "ok" if good else "failed", found, fix)


def packages() -> Iterator[Check]:
    """Check that the required packages are installed in supported versions."""
    wrong = _problems(None)
    names = ("kerasrec", "tensorflow", "keras", "numpy", "pyarrow")
    found = ", ".join(f"{name} {_version(name) or 'missing'}" for name in names)
    if wrong:
        yield Check("packages", "failed", "; ".join(wrong) + ".", "Run: pip install kerasrec")
    else:
        yield Check("packages", "ok", found)


def extras() -> Iterator[Check]:
    """Check whether the optional extras are installed."""
    provided = importlib.metadata.metadata("kerasrec").get_all("Provides-Extra") or []
    for extra in sorted(set(provided) - set(OWN_EXTRAS)):
        missing = _problems(extra)
        fix = f'For this: pip install "kerasrec[{extra}]"' if missing else ""
        found = f"[{extra}] {'; '.join(missing) + '.' if missing else 'is there'}"
        yield Check("extra", "warning" if missing else "ok", found, fix)


def folders() -> Iterator[Check]:
    """Check that data sets can be read and downloads cached."""
    own = os.environ.get("KERASREC_DATA")
    if not own:
        yield Check("data", "ok", "KERASREC_DATA is not set: files by path, others from the cache")
    elif not os.access(own, os.R_OK | os.X_OK) or not Path(own).is_dir():
        fix = "Make the folder, or unset the variable."
        yield Check("data", "failed", f"KERASREC_DATA={own} is not a readable folder.", fix)
    else:
        yield Check("data", "ok", f"KERASREC_DATA={own}")
    cache = kerasrec.datasets.cache_dir()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield Check("cache", "ok", str(cache))
    else:
        fix = "Name another folder in the environment variable KERASREC_CACHE."
        yield Check("cache", "failed", f"{cache} cannot be written.", fix)


def memory() -> Iterator[Check]:
    """Check that memory and disk suffice for small jobs."""
    gib = 2.0**30
    with contextlib.suppress(OSError, ValueError):  # on systems without this file
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))
        good = free >= MEMORY_GIB * gib
        fix = "" if good else f"Close other programs: {MEMORY_GIB} GiB are a sensible minimum."
        yield Check("memory", "ok" if good else "warning", f"{free / gib:.1f} GiB available", fix)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    good = free >= DISK_GIB * gib
    fix = "" if good else "Free some space, or name another folder in TMPDIR."
    yield Check("disk", "ok" if good else "warning", f"{free / gib:.1f} GiB free in {folder}", fix)


def devices() -> Iterator[Check]:
    """Check that Keras uses TensorFlow, and list its devices."""
    try:
        import_tensorflow()
        import keras
        import tensorflow as tf
    except Exception as error:
        fix = "Reinstall: pip install --force-reinstall tensorflow keras"
        yield Check("tensorflow", "failed", f"cannot be imported: {error}.", fix)
        return
    if (backend := keras.backend.backend()) != "tensorflow":
        fix = "Unset KERAS_BACKEND, or set it to tensorflow, there or in ~/.keras/keras.json."
        yield Check("backend", "failed", f"Keras uses {backend}.", fix)
    else:
        yield Check("backend", "ok", "Keras uses tensorflow")
    gpus = [
        gpu.name.removeprefix("/physical_device:") for gpu in tf.config.list_physical_devices("GPU")
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("devices", "ok", f"{cores} CPU cores; {', '.join(gpus) or 'no GPU'}")


def training() -> Check:
    """Check that a tiny model can be trained, exported and verified."""
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            return Check("training", "ok", _train(folder))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Check("training", "failed", text, "Please report it, with all of the above.")


def _train(folder: str) -> str:
    rows = kerasrec.datasets.load("synthetic", num_users=30, num_items=20, ratings_per_user=6)
    split = kerasrec.data.random_split(rows.interactions, valid=0.1, test=0.1)
    ready = kerasrec.data.prepare(split)
    model = kerasrec.models.MatrixFactorization(ready.schema, embedding_dim=4)
    choices = kerasrec.runs.Training(
        "mse", learning_rate=0.05, epochs=5, batch_size=32, patience=5, jit_compile=False
    )
    losses = kerasrec.runs.train(model, ready, choices, verbose=0).history["loss"]
    if not losses[-1] < losses[0]:
        raise ValueError(f"the loss did not fall: {losses}")
    path = kerasrec.serving.export(model, folder, vocabularies=ready.vocabularies, k=5)
    found = kerasrec.serving.verify(path)
    return (
        f"loss {losses[0]:.2f} -> {losses[-1]:.2f}; exported, reloaded in a fresh process: "
        f"{len(found.signatures)} signatures agree"
    )


def _problems(extra: str | None) -> list[str]:
    """Describe the requirements of the core, or of an extra, that this machine does not meet."""
    from packaging.requirements import Requirement

    found = []
    for requirement in map(Requirement, importlib.metadata.requires("kerasrec") or []):
        name, marker, version = requirement.name, requirement.marker, _version(requirement.name)
        core = marker is None or marker.evaluate({"extra": ""})
        of_extra = not core and marker and marker.evaluate({"extra": extra or ""})
        if not (core if extra is None else of_extra):
            continue
        if version is None:
            found.append(f"{name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{name} {version} is installed, {requirement.specifier} is needed")
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
