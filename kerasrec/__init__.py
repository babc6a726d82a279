"""Recommender models for Keras 3, from raw interactions to TensorFlow Serving.

Subpackages load on first use, so `import kerasrec` takes milliseconds. After this import,
`keras.models.load_model` can load models saved with kerasrec classes.
"""

import lazy_loader

from kerasrec._registration import enter_with_keras as _enter_with_keras

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "calibration",
        "callbacks",
        "data",
        "datasets",
        "distribute",
        "evaluation",
        "interop",
        "layers",
        "losses",
        "models",
        "optimizers",
        "reports",
        "retrieval",
        "runs",
        "schema",
        "serving",
        "testing",
        "training",
        "types",
    ],
)

_enter_with_keras()
