"""Exact top-k retrieval with exclusions and filters, eager or in a graph; retriever training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "catalogue": ["ExactTopK", "Found"],
        "exact": ["LOWEST_SCORE", "TopK", "blocked_top_k", "rescored", "top_k"],
        "next_item": ["NextItemTrainer"],
        "reranking": [
            "Calibrated",
            "MaximalMarginalRelevance",
            "PopularityBalance",
            "Reranker",
            "Shortlist",
        ],
        "sampled_softmax": ["SampledSoftmaxTrainer"],
        "vector_table": ["VectorTable"],
    },
)
