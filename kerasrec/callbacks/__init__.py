"""Callbacks for stock `fit`: diagnosis, gradient statistics, validation and resuming."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "training_diagnostics": ["TrainingDiagnostics"],
        "gradient_monitor": ["GradientMonitor"],
        "label_validation": ["LabelValidation"],
        "ranking_validation": ["RankingValidation"],
        "exact_resume": ["ExactResume"],
    },
)
