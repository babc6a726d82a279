"""Evaluation: rating errors, rank metrics over the whole catalogue, comparison tables.

The input is encoded columns and the output plain dicts. Models are only used through the protocols
`Ranker` and `Retriever`, so anything that scores pairs can be evaluated.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classes": ["class_metrics"],
        "measure": ["beyond_accuracy", "click_metrics", "rating_errors"],
        "clicks.curves": ["average_precision", "gain_curve", "threshold_table"],
        "clicks.intervals": ["click_intervals", "compare_clicks"],
        "clicks.predictions": ["ClickPredictions", "predict_clicks"],
        "clicks.segments": ["click_segments"],
        "clicks.scores": ["auc", "log_loss"],
        "guard": ["ProtocolWarning", "check_features", "check_ranking", "check_split"],
        "baseline": ["item_popularity"],
        "segments": ["segment_rows", "user_activity"],
        "cross_validation": ["cross_validate", "nested_cross_validate"],
        "example_folds": ["example_folds"],
        "ranking.candidates": ["sample_candidates"],
        "ranking.queries": ["row_counts"],
        "ranking.rank": ["rank"],
        "ranking.recommend": ["Recommendations", "recommend"],
        "ranking.result": ["RankingResult"],
        "ranking.task": ["Candidates", "RankingTask"],
        "statistics": [
            "bootstrap_intervals",
            "holm",
            "paired_comparison",
            "spread",
        ],
        "report": ["compare", "evaluate", "format_table"],
    },
)
