"""Report as one self-contained HTML page."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from kerasrec.reports.charts import Line, bar_chart, line_chart
from kerasrec.reports.click_sections import click_summary, sections_of
from kerasrec.reports.parts import (
    data_section,
    document,
    figure,
    grid,
    html_table,
    learning_section,
    legend,
    runs_section,
    shown_name,
    shown_number,
    swatch,
)


def page(numbers: Mapping[str, Any]) -> str:
    """Return the page of a report.

    Args:
        numbers: result of `numbers`.

    Returns:
        HTML with inline style, charts and numbers.
    """
    models = numbers["models"]
    clicks = numbers.get("clicks", {})
    if numbers.get("task") == "labels":
        sections = [
            ("Models", click_summary(clicks)),
            *sections_of(clicks),
            ("Learning curves", learning_section(models)),
            ("Runs", runs_section(models)),
            ("Data", data_section(numbers)),
        ]
        return document(numbers, sections)
    k = numbers["list_length"]
    sections = [
        ("Models", _summary(numbers)),
        ("Metric against k", _curves(models)),
        ("Learning curves", learning_section(models)),
        ("Segments", _segments(models)),
        ("Popularity and coverage", _lists(models, k)),
        ("Sample lists", _samples(models)),
        *([("Predicted clicks", click_summary(clicks)), *sections_of(clicks)] if clicks else []),
        ("Runs", runs_section(models)),
        ("Data", data_section(numbers)),
    ]
    return document(numbers, sections)


def _summary(numbers: Mapping[str, Any]) -> str:
    models, metrics = numbers["models"], numbers["metrics"]
    errors = list(dict.fromkeys(name for model in models for name in model["errors"]))
    rows = [["model", *metrics, *errors]]
    for model in models:
        row = [shown_name(model)]
        for name in metrics:
            value = model["metrics"][name]
            mean = _best(shown_number(value["mean"]), model, name, numbers)
            row.append(
                f"{mean}{_mark(model, name)}"
                f"<small>{value['low']:.4f} to {value['high']:.4f}</small>"
            )
        for name in errors:
            row.append(_best(shown_number(model["errors"].get(name)), model, name, numbers))
        rows.append(row)
    facts = numbers["protocol"]
    return html_table(rows) + (
        f'<p class="soft">{html.escape(str(facts["protocol"]))}, {facts["queries"]:,} queries of '
        f"{facts['users']:,} users, {facts['candidates']:,} candidates. Best first, by "
        f"{html.escape(metrics[0])}; the best of a column is bold. Below each mean its 95 % "
        f"bootstrap interval over the queries. ▲ and ▼: better or worse than "
        f"{html.escape(numbers['reference'])}, p &lt; 0.05 in a paired permutation test "
        f"({numbers['draws']:,} draws) after Holm's correction over all models and metrics.</p>"
    )


def _best(text: str, model: Mapping[str, Any], metric: str, numbers: Mapping[str, Any]) -> str:
    best = model["name"] in numbers["best"].get(metric, ())
    return f'<strong class="best">{text}</strong>' if best else text


def _mark(model: Mapping[str, Any], metric: str) -> str:
    found = model.get("against", {}).get(metric)
    if not found or not found["significant"]:
        return ""
    return " ▲" if found["mean"] > 0 else " ▼"


def _curves(models: Sequence[Mapping[str, Any]]) -> str:
    return legend(models) + grid([_against_k(models, kind) for kind in models[0]["curves"]])


def _against_k(models: Sequence[Mapping[str, Any]], kind: str) -> str:
    lines = [
        Line(m["name"], at, c["k"], c["mean"], c["low"], c["high"])
        for at, m in enumerate(models)
        if (c := m["curves"].get(kind))
    ]
    chart = line_chart(kind, lines, x_label="k", y_label=f"{kind}@k", from_zero=True)
    return figure(f"{kind}@k", chart, "mean and 95 % interval")


def _segments(models: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for kind, caption in (
        ("activity", "users by thirds of their training rows"),
        ("popularity", "test items by popularity: each part has a third of the training rows"),
    ):
        rows = [{row["segment"]: row for row in m["segments"][kind]} for m in models]
        groups = list(dict.fromkeys(name for mine in rows for name in mine))
        names = dict.fromkeys(name for mine in rows for row in mine.values() for name in row)
        for metric in [name for name in names if "@" in name]:
            bars = [
                (m["name"], at, [rows[at].get(name, {}).get(metric) for name in groups])
                for at, m in enumerate(models)
            ]
            title = f"{metric} by {'user activity' if kind == 'activity' else 'item popularity'}"
            figures.append(figure(title, bar_chart(title, groups, bars, y_label=metric), caption))
    return legend(models) + grid(figures)


def _lists(models: Sequence[Mapping[str, Any]], k: int) -> str:
    shares = [Line(m["name"], at, m["lists"]["items"], m["lists"]["listed"])
              for at, m in enumerate(models)]  # fmt: skip
    rows = models[0]["lists"]
    shares.append(Line("training rows", len(models), rows["items"], rows["train_rows"]))
    covered = [
        Line(m["name"], at, range(1, k + 1), m["lists"]["coverage"]) for at, m in enumerate(models)
    ]
    names = list(rows["figures"])
    table = [["model", *names]]
    for m in models:
        table.append(
            [shown_name(m), *(shown_number(m["lists"]["figures"][name]) for name in names)]
        )
    note = '<p class="soft">As kerasrec.evaluation.beyond_accuracy defines them.</p>'
    return html_table(table) + note + legend(models) + grid(
        [
            figure(
                "Share of the lists that popular items take",
                line_chart("popularity", shares, x_label="share of items, most popular first",
                           y_label=f"share of top-{k} positions", from_zero=True),
                f"{swatch(len(models))} training rows",
            ),
            figure(
                "Coverage",
                line_chart("coverage", covered, x_label="length of the list",
                           y_label="share of items in a list", from_zero=True),
                "items that at least one user gets",
            ),
        ]
    )  # fmt: skip


def _samples(models: Sequence[Mapping[str, Any]]) -> str:
    """Return the lists of some users, model by model, with the hits marked."""
    models = [m for m in models if m["samples"]]
    if not models:
        return '<p class="empty">These runs have no sample lists.</p>'
    tables = []
    for at, user in enumerate(models[0]["samples"]):
        theirs = [m["samples"][at]["items"] for m in models]
        hits = set(user["test"])
        rows = [["position", *map(shown_name, models)]]
        for at in range(max(map(len, theirs))):
            titles = [items[at] if at < len(items) else "" for items in theirs]
            cells = [f"{html.escape(t)}{' ●' if t in hits else ''}" for t in titles]
            rows.append([str(at + 1), *cells])
        past, test = (html.escape("; ".join(user[part])) for part in ("history", "test"))
        tables.append(
            f"<h3>User {html.escape(user['user'])}</h3><p>Before: {past or '-'}</p>"
            f"<p>Test ●: {test}</p>{html_table(rows, texts=True)}"
        )
    return "".join(tables)
