"""Sentence about a training whose first epoch was the best, which click models often have."""

from collections.abc import Sequence
from typing import Any

from kerasrec.runs.settings import Training

CLEARLY = 0.01
"""Share of the best figure by which the later epochs must be worse in the mean."""


def one_epoch_note(
    model: Any, training: Training, monitor: str, figures: Sequence[float], *, higher: bool
) -> str | None:
    """Return a sentence if a model was best after its first epoch and clearly worse later.

    Tables of many ids learn the rows of the first epoch by heart, so that the others add nothing
    that holds for new rows (Zhang et al., 2022, "Towards Understanding the Overfitting Phenomenon
    of Deep Click-Through Rate Models").

    Args:
        model: the model that was trained.
        training: its options.
        monitor: name of the figure of the validation rows.
        figures: the figure after each epoch.
        higher: whether a higher figure is better.

    Returns:
        The sentence with what helps; None if later epochs were better, or hardly worse.

    Example:

    >>> print(one_epoch_note(None, Training(), "val_auc", [0.8, 0.77, 0.75], higher=True))
    val_auc was best after epoch 1 (0.8000) and 0.7500 after epoch 3, as happens where tables of \
many ids learn rows by heart: try --table_l2 0.01 or --min_count 5.
    >>> one_epoch_note(None, Training(), "val_auc", [0.8, 0.799], higher=True) is None
    True
    """
    if len(figures) < 2:
        return None
    sign = 1.0 if higher else -1.0
    best, later = figures[0], figures[1:]
    worse = [sign * (best - figure) for figure in later]
    if min(worse) <= 0 or sum(worse) / len(worse) < CLEARLY * abs(best):
        return None
    l2 = training.table_l2
    helps = [f"a --table_l2 above {l2:g}" if l2 else "--table_l2 0.01", "--min_count 5"]
    dim = getattr(model, "embedding_dim", 1)
    if dim > 1:
        helps.append(f"--embedding_dim {max(1, dim // 2)}")
    listed = f"{', '.join(helps[:-1])} or {helps[-1]}"
    return (
        f"{monitor} was best after epoch 1 ({best:.4f}) and {later[-1]:.4f} after epoch "
        f"{len(figures)}, as happens where tables of many ids learn rows by heart: try {listed}."
    )
