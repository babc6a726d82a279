import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import keras
import pytest
import tensorflow as tf

# No wall clock decides a test; a build machine tries the same examples every time.
hypothesis.settings.register_profile(
    "kerasrec",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("kerasrec")


def pytest_configure(config):
    """Two logical CPUs, so that two-replica runs need no second machine."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()],
    )


@pytest.fixture(autouse=True)
def same_seed():
    """Every test draws the same random numbers, alone or in the suite."""
    keras.utils.set_random_seed(0)
