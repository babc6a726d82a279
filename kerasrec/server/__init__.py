"""A local server for development that speaks TensorFlow Serving's REST and gRPC.

Production is TensorFlow Serving itself: the same directory, the same clients. `serve` runs until
SIGTERM; it needs the extra `[serve]`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "running": ["serve"],
        "settings": ["Settings"],
    },
)
