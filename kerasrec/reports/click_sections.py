"""Sections of a report on predicted clicks."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from kerasrec.reports.charts import Line, line_chart
from kerasrec.reports.parts import (
    figure,
    grid,
    html_table,
    legend,
    shown_name,
    shown_number,
    swatch,
)

_SHOWN = ("precision", "recall", "f1", "specificity", "share")


def click_summary(clicks: Mapping[str, Any]) -> str:
    """Return the metrics of each model with intervals and marks of significance."""
    rows = [["model", *clicks["metrics"]]]
    for model in clicks["models"]:
        row = [shown_name(model)]
        for name in clicks["metrics"]:
            text = f"{shown_number(model['metrics'][name]['mean'])}"
            if model["name"] in clicks["best"][name]:
                text = f'<strong class="best">{text}</strong>'
            row.append(f"{text}{_mark(model, name)}{_ends(model['metrics'][name])}")
        rows.append(row)
    if clicks["baseline"]:
        values = (shown_number(clicks["baseline"].get(name)) for name in clicks["metrics"])
        rows.append(["mean label of the training rows", *values])
    by = "rows" if clicks["users"] is None else "users"
    users = "" if clicks["users"] is None else f" of {clicks['users']:,} users"
    tested = (
        f" ▲ and ▼: better or worse than {html.escape(clicks['reference'])}, p &lt; 0.05 in a "
        "paired test on the same rows (DeLong's for AUC) after Holm's correction over all models "
        "and metrics."
        if len(clicks["models"]) > 1
        else ""
    )
    return html_table(rows) + _differences(clicks) + (
        f'<p class="soft">{clicks["rows"]:,} test rows{users}, {clicks["positives"]:,} positives. '
        "Best first, by log loss; the best of a column is bold. Lower is better for log_loss and "
        "normalized_entropy (1 is the mean label of these rows), 1 is best for calibration. Below "
        f"each metric its 95 % interval over the {by}.{tested}</p>"
    )  # fmt: skip


def gain_section(clicks: Mapping[str, Any]) -> str:
    """Return the gain and the lift of each model."""
    models = [m for m in clicks["models"] if m["gain"]]
    if not models:
        return _one_label()
    series = _series(clicks)
    gain = [Line(m["name"], series[m["name"]], m["gain"]["share"], m["gain"]["gain"])
            for m in models]  # fmt: skip
    drawn, best = len(series), len(series) + 1
    gain.append(Line("drawn rows", drawn, [0, 1], [0, 1]))
    gain.append(Line("every positive first", best, models[0]["gain"]["share"],
                     models[0]["gain"]["best"]))  # fmt: skip
    lift = [Line(m["name"], series[m["name"]], m["gain"]["lift_share"], m["gain"]["lift"])
            for m in models]  # fmt: skip
    return legend(clicks["models"]) + grid([
        figure("Gain", line_chart("gain", gain, x_label="share of rows, highest scores first",
                                  y_label="share of the positives", from_zero=True),
               f"{swatch(drawn)} drawn rows, {swatch(best)} every positive first"),
        figure("Lift", line_chart("lift", lift, x_label="share of rows, highest scores first",
                                  y_label="times as many positives", from_zero=True),
               "positives among these rows, over those among as many drawn rows"),
    ])  # fmt: skip


def probability_section(clicks: Mapping[str, Any]) -> str:
    """Return precision over recall, and observed over predicted rates."""
    series = _series(clicks)
    named = [(series[m["name"]], m) for m in clicks["models"]]
    charts = []
    pairs = [
        Line(m["name"], at, m["precision_recall"]["recall"], m["precision_recall"]["precision"])
        for at, m in named
        if m["precision_recall"]
    ]
    if pairs:
        share = clicks["positives"] / clicks["rows"]
        drawn = len(series)
        pairs.append(Line("drawn rows", drawn, [0, 1], [share, share]))
        chart = line_chart("precision and recall", pairs, x_label="recall", y_label="precision",
                           from_zero=True)  # fmt: skip
        charts.append(figure("Precision and recall", chart, f"{swatch(drawn)} drawn rows"))
    curves = [
        Line(m["name"], at, m["calibration"]["predicted"], m["calibration"]["observed"])
        for at, m in named
    ]
    top = max(max(line.x) for line in curves)
    curves.append(Line("as predicted", len(series), [0, top], [0, top]))
    errors = ", ".join(f"{shown_name(m)} {m['calibration']['error']:.4f}" for _, m in named)
    axes = {"x_label": "mean prediction", "y_label": "share of positives"}
    chart = line_chart("calibration", curves, **axes, from_zero=True)
    caption = (
        f"ten parts of equally many rows; {swatch(len(series))} as predicted. Mean distance from "
        f"it: {errors}"
    )
    charts.append(figure("Calibration", chart, caption))
    return legend(clicks["models"]) + grid(charts)


def threshold_section(clicks: Mapping[str, Any]) -> str:
    """Return for each model what a yes from some thresholds on gets."""
    tables = []
    for model in clicks["models"]:
        rows = [["threshold", *_SHOWN]]
        for row in model["thresholds"]:
            why = "" if row["chosen"] == "given" else f"<small>{html.escape(row['chosen'])}</small>"
            threshold = f"{row['threshold']:.4g}{why}"
            rows.append([threshold, *(shown_number(row[name]) for name in _SHOWN)])
        tables.append(f"<h3>{shown_name(model)}</h3>{html_table(rows)}")
    note = '<p class="soft">share: rows that get a yes. A dash stands for a share of no rows.</p>'
    return "".join(tables) + note


def click_segment_section(clicks: Mapping[str, Any]) -> str:
    """Return AUC and calibration by segment, a table for each column."""
    models = clicks["models"]
    if not models[0]["segments"]:
        return '<p class="empty">No column has segments.</p>'
    tables = []
    for column, first in models[0]["segments"].items():
        head = [f"{measure} {shown_name(m)}" for m in models for measure in ("AUC", "calibration")]
        rows = [["segment", "rows", "positives", *head]]
        for at, segment in enumerate(first):
            row = [html.escape(segment["segment"]), f"{segment['rows']:,}"]
            row.append(f"{segment['positive_share']:.1%}")
            for model in models:
                found = model["segments"][column][at]
                for name in ("auc", "calibration"):
                    interval = {"low": found[f"{name}_low"], "high": found[f"{name}_high"]}
                    row.append(f"{shown_number(found[name])}{_ends(interval)}")
            rows.append(row)
        tables.append(f"<h3>{html.escape(column)}</h3>{html_table(rows)}")
    note = (
        '<p class="soft">The columns whose share of positives varies most. Below each metric its '
        "95 % interval; a small segment has a wide one.</p>"
    )
    return "".join(tables) + note


def _differences(clicks: Mapping[str, Any]) -> str:
    """Return the differences of the other models from the first run, with p."""
    tested = [model for model in clicks["models"] if "against" in model]
    if not tested:
        return ""
    names = list(tested[0]["against"])
    rows = [[f"minus {html.escape(clicks['reference'])}", *names]]
    for model in tested:
        row = [shown_name(model)]
        for name in names:
            found = model["against"][name]
            p = "-" if found["p_holm"] is None else f"{found['p_holm']:.3g}"
            ends = _ends(found, signed=True)
            row.append(f"{_signed(found['mean'])}{ends}<small>p {p}</small>")
        rows.append(row)
    return f"<h3>Differences</h3>{html_table(rows)}"


def _mark(model: Mapping[str, Any], metric: str) -> str:
    found = model.get("against", {}).get(metric)
    if not found or not found["significant"]:
        return ""
    return " ▲" if found["better"] else " ▼"


def _ends(interval: Mapping[str, Any], *, signed: bool = False) -> str:
    if interval["low"] is None:
        return ""
    shown = _signed if signed else shown_number
    return f"<small>{shown(interval['low'])} to {shown(interval['high'])}</small>"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _series(clicks: Mapping[str, Any]) -> dict[str, int]:
    return {model["name"]: at for at, model in enumerate(clicks["models"])}


def _one_label() -> str:
    return '<p class="empty">All test rows have the same label.</p>'


def sections_of(clicks: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the sections behind the summary, with their titles."""
    return [
        ("Gain and lift", gain_section(clicks)),
        ("Precision, recall and calibration", probability_section(clicks)),
        ("Thresholds", threshold_section(clicks)),
        ("Segments of the rows", click_segment_section(clicks)),
    ]
