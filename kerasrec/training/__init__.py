"""What `fit` of models and of the wrappers around them does beyond Keras: speed and memory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "every_step": ["EveryStep"],
        "long_fits": ["LongFits"],
        "memory": ["keep_freed_memory"],
        "wrapper": ["Wrapper"],
    },
)
