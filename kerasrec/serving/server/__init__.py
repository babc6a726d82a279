"""Local development server with the REST and gRPC interfaces of TensorFlow Serving.

In production, use TensorFlow Serving itself with the same directory and the same clients. `serve`
runs until SIGTERM, `background` for the length of a `with` block. Both need the extra `[serve]`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "app": ["serve"],
        "load_test": ["measure_load"],
        "settings": ["Settings"],
        "subprocess_server": ["background"],
    },
)
