"""Strategies of `tf.distribute` by name, with helpful errors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"strategies": ["batches", "shard", "strategy"]}
)
