"""Training beyond Keras for models and their wrappers: speed, memory and distribution."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "every_step": ["StepwiseTrainer"],
        "long_fits": ["FitModel"],
        "memory": ["keep_freed_memory"],
        "wrapper": ["Wrapper"],
    },
)
