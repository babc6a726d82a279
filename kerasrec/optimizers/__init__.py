"""Sparse optimizers that sum and clip gradients, then update the touched rows; and schedules."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adagrad": ["Adagrad", "RowwiseAdagrad"],
        "adam": ["Adam", "AdamW"],
        "clippy": ["ClippyAdagrad"],
        "constraints": ["ClipWeights"],
        "ftrl": ["Ftrl"],
        "schedules": ["WarmUp", "inverse_time_decay"],
        "sgd": ["SGD"],
    },
)
