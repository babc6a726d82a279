import importlib.util
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import keras
import pytest
import tensorflow as tf

# No wall clock decides a test; a build machine tries the same examples every time. Tests whose
# examples are cheap or many ask for more than these.
hypothesis.settings.register_profile(
    "kerasrec",
    max_examples=30,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("kerasrec")
TESTS = pathlib.Path(__file__).parent


def pytest_configure(config):
    """Two logical CPUs, so that two-replica runs need no second machine; see skips_in_ci.py."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()],
    )
    if os.environ.get("CI"):
        plugin = load(TESTS / "skips_in_ci.py")
        config.pluginmanager.register(plugin, "skips_in_ci")


def load(path):
    """The module in a file that lies in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def same_seed():
    """Every test draws the same random numbers, alone or in the suite."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def free_ports():
    """A function that finds so many ports for servers."""
    return load(TESTS.parent / "benchmarks" / "ports.py").free_ports
