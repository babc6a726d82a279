import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf


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
