"""Losses missing from keras and keras_rs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "chunked_softmax": ["full_softmax_crossentropy"],
        "focal": ["FocalCrossentropy"],
        "sampled": ["gbce_loss", "sampled_softmax"],
    },
)
