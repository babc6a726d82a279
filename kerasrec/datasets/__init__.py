"""Public data sets by name, TFDS, your own files, and synthetic data with a known optimum."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_load": ["load", "names"],
        "dataset": ["Dataset"],
        "storage": ["cache_dir"],
        "synthetic_ratings": ["synthetic"],
        "tensorflow_datasets_source": ["tfds_files"],
    },
)
