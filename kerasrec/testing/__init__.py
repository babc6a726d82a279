"""Contract kit: the checks that every model of the zoo passes, also for custom models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "contract": ["CHECKS", "check_model"],
        "cases": ["ModelCase", "random_inputs", "tiny_schema"],
    },
)
