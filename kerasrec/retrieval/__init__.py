"""Exact top-k with exclusions, eager or inside a graph; training of retrievers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "exact": ["LOWEST_SCORE", "TopK", "blocked_top_k", "top_k"],
        "next_item": ["NextItem"],
        "sampled_softmax": ["SampledSoftmax"],
    },
)
