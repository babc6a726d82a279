"""Callbacks for stock `fit`: what the gradients do, and what is wrong when a training fails."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "gradient_monitor": ["GradientMonitor"],
    },
)
