"""How good a model is: rating errors, rank metrics over the whole catalogue, comparison tables.

Encoded columns go in, plain dicts come out. Models are seen through the two Protocols `Ranker` and
`Retriever` alone, so anything that scores pairs can be evaluated.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "rating_errors": ["pointwise"],
        "rank_metrics": ["RankMetrics", "expected_rank_metrics"],
        "full_ranking": ["ranking"],
        "report": ["compare", "evaluate", "format_table"],
    },
)
