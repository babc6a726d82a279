"""Layers missing from keras and keras_rs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "causal_attention": ["CausalAttention"],
        "dropout": ["Dropout"],
        "embedding": ["Embedding"],
        "feature_embedding": ["FeatureEmbedding"],
        "recurrent": ["Recurrent"],
    },
)
