"""A local server for development that speaks TensorFlow Serving's REST and gRPC.

Production is TensorFlow Serving itself: the same directory, the same clients. `serve` runs until
SIGTERM, `background` for the length of a `with` block; both need the extra `[serve]`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "load": ["LoadReport", "measure_load"],
        "local": ["LocalServer", "background"],
        "running": ["serve"],
        "settings": ["Settings"],
    },
)
