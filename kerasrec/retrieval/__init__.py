"""Exact top-k retrieval with exclusions and filters, eager or in a graph."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "catalogue": ["ExactTopK", "Found"],
        "exact": ["LOWEST_SCORE", "TopK", "blocked_top_k", "rescored", "top_k"],
        "reranking": [
            "Calibrated",
            "MaximalMarginalRelevance",
            "PopularityBalance",
            "Reranker",
            "Shortlist",
        ],
        "vector_table": ["VectorTable"],
    },
)
