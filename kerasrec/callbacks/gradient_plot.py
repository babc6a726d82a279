"""Plot of the values that `GradientMonitor` recorded."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

# Title, prefix of the names, whether it has one number for each look (else each epoch), log scale.
PANELS = (
    ("gradient norm (thin: before clipping)", "grad_norm", True, True),
    ("share of updates clipped", "clipped_share", False, False),
    ("size of an update / size of the weights", "update_ratio", True, True),
    ("rows never touched", "untouched_rows", False, False),
)


def draw(
    looks: Mapping[str, np.ndarray],
    epochs: Mapping[str, np.ndarray],
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Plot one panel for each quantity and one line for each variable.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'GradientMonitor.plot needs matplotlib. Install it: pip install "kerasrec[plots]"'
        ) from error
    variables = [name.removeprefix("grad_norm/") for name in looks if name.startswith("grad_norm/")]
    colors = {name: f"C{number % 10}" for number, name in enumerate(variables)}
    styles = {
        name: ("-", "--", ":", "-.")[number // 10 % 4] for number, name in enumerate(variables)
    }
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    lines = {}
    for axes, (title, field, by_look, is_log) in zip(
        figure.subplots(2, 2).flat, PANELS, strict=True
    ):
        source = looks if by_look else epochs
        for name in variables:
            if f"{field}/{name}" not in source:
                continue
            numbers = source[f"{field}/{name}"]
            look = {"color": colors[name], "linestyle": styles[name]}
            marker = "" if by_look and len(numbers) > 1 else "o"
            if f"clipped_norm/{name}" in looks and field == "grad_norm":
                axes.plot(source["step"], _drawable(numbers), lw=0.8, alpha=0.6, **look)
                numbers = looks[f"clipped_norm/{name}"]
            drawn = _drawable(numbers, is_log)
            (lines[name],) = axes.plot(source["step"], drawn, lw=1.6, marker=marker, ms=4, **look)
        if not axes.has_data():
            empty = "nothing is clipped" if field == "clipped_share" else "no tables"
            axes.text(0.5, 0.5, empty, ha="center", va="center", transform=axes.transAxes)
            axes.set_yticks([])
        elif is_log:
            axes.set_yscale("log")
        elif field == "clipped_share":
            axes.set_ylim(-0.03, 1.03)
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
    for axes in figure.axes[2:]:
        axes.set_xlabel("updates")
    columns = min(3, len(lines))
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=columns, fontsize=8
    )
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _drawable(numbers: np.ndarray, is_log: bool = True) -> np.ndarray:
    """Return the values, with NaN where an axis cannot show them."""
    shown = np.isfinite(numbers) & ((numbers > 0) | (not is_log))
    return np.where(shown, numbers, np.nan)
