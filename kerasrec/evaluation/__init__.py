"""Evaluation: rating errors, rank metrics over the whole catalogue, comparison tables.

The input is encoded columns and the output plain dicts. Models are only used through the protocols
`Ranker` and `Retriever`, so anything that scores pairs can be evaluated.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "rating_errors": ["pointwise"],
        "click_metrics": [
            "CalibrationCurve",
            "auc",
            "calibration_curve",
            "click_metrics",
            "grouped_auc",
            "log_loss",
        ],
        "beyond": [
            "beyond_accuracy",
            "coverage",
            "diversity",
            "entropy",
            "gini",
            "long_tail_share",
            "novelty",
            "popularity_lift",
            "serendipity",
        ],
        "queries": ["row_counts"],
        "guard": ["ProtocolWarning", "check_ranking", "check_split"],
        "lists": ["Lists", "recommend"],
        "segments": ["item_popularity", "segment_rows", "user_activity"],
        "cross_validation": ["CrossValidation", "cross_validate"],
        "rank_metrics": ["RankMetrics", "expected_rank_metrics"],
        "full_ranking": ["rank_queries", "ranking"],
        "ranked": ["Ranked"],
        "sampling": ["Candidates", "sample_candidates"],
        "statistics": [
            "Comparison",
            "Interval",
            "Spread",
            "bootstrap_intervals",
            "holm",
            "paired_comparison",
            "spread",
        ],
        "report": ["compare", "evaluate", "format_table"],
    },
)
