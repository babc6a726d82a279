"""kerasrec: recommender models for Keras 3, from raw interactions to TensorFlow Serving.

Packages load when first used, so that `import kerasrec` costs milliseconds.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "callbacks",
        "data",
        "datasets",
        "distribute",
        "evaluation",
        "layers",
        "losses",
        "models",
        "optimizers",
        "reports",
        "retrieval",
        "schema",
        "server",
        "serving",
        "testing",
        "training",
        "types",
    ],
)
