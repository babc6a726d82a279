"""Comparison of runs on one HTML page with numbers and charts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "numbers": ["numbers"],
        "page": ["page"],
        "recorded": ["read_recorded"],
    },
)
