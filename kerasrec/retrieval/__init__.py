"""Recommended lists, exact top-k with exclusions and filters, and re-ranking."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_recommend": ["recommend", "similar_items"],
        "catalogue": ["ExactTopK", "RecommendedItems"],
        "index": ["Index"],
        "reranking": [
            "Calibrated",
            "MaximalMarginalRelevance",
            "PopularityBalance",
            "Reranker",
            "Shortlist",
        ],
    },
)
