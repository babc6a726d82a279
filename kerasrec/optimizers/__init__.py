"""Schedules for stock Keras optimizers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"schedules": ["inverse_time_decay"]},
)
