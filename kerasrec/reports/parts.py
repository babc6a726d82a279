"""Parts that the pages of rankings and of clicks share."""

import html
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from kerasrec.reports.charts import Line, line_chart

_TEXTS = ("versions", "machine")
_LOSSES = ("loss", "val_loss")


def document(numbers: Mapping[str, Any], sections: Sequence[tuple[str, str]]) -> str:
    """Return a page of titled sections, which also holds the numbers."""
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections)
    title = html.escape(
        f"{numbers['data']}: {', '.join(model['name'] for model in numbers['models'])}"
    )
    style = pathlib.Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    held = json.dumps(numbers, allow_nan=False).replace("</", "<\\/")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body><h1>{html.escape(str(numbers['data']))}</h1>{body}"
        f'<script type="application/json" id="numbers">{held}</script></body></html>\n'
    )


def learning_section(models: Sequence[Mapping[str, Any]]) -> str:
    """Return the curves of the training, with a chart for each kind of loss."""
    figures = []
    for name in dict.fromkeys(n for m in models for n in m["history"]):
        if "/" in name or name == "learning_rate":
            continue
        # Losses of different kinds are not comparable, and share no axis.
        kinds = {m["loss"] if name in _LOSSES else "" for m in models if name in m["history"]}
        for kind in sorted(kinds):
            lines = _histories(models, name, kind if name in _LOSSES else None)
            chart = line_chart(name, lines, x_label="epoch", y_label=name)
            figures.append(figure(f"{name}: {kind}" if kind else name, chart))
    norms = [
        Line(m["name"], at, *_norms(m["history"]))
        for at, m in enumerate(models)
        if any(n.startswith("grad_norm/") for n in m["history"])
    ]
    if norms:
        chart = line_chart("gradient norm", norms, x_label="epoch", y_label="norm", from_zero=True)
        caption = "root of the summed squares over the variables"
        figures.append(figure("Gradient norm", chart, caption))
    if not figures:
        return '<p class="empty">No run has epochs.</p>'
    return legend(models, [at for at, m in enumerate(models) if m["history"]]) + grid(figures)


def _histories(models: Sequence[Mapping[str, Any]], name: str, loss: str | None) -> list[Line]:
    return [
        Line(m["name"], at, range(1, len(m["history"][name]) + 1), m["history"][name])
        for at, m in enumerate(models)
        if name in m["history"] and loss in (None, m["loss"])
    ]


def _norms(history: Mapping[str, Sequence[float | None]]) -> tuple[range, list[float | None]]:
    rows = zip(*(v for n, v in history.items() if n.startswith("grad_norm/")), strict=True)
    total = [
        None if any(v is None for v in row) else math.sqrt(sum(v * v for v in row)) for row in rows
    ]
    return range(1, len(total) + 1), total


def runs_section(models: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the runs, and that of all their flags."""
    rows = [["run", "model", "seed", "epochs", "training s", "evaluation s", "versions", "machine"]]
    for model in models:
        if model["flags"]:
            epochs = max((len(values) for values in model["history"].values()), default=0)
            seconds = model["seconds"]
            versions = ", ".join(f"{n} {v}" for n, v in model["versions"].items())
            rows.append(
                [shown_name(model), model["model"], str(model["seed"]), str(epochs),
                 f"{seconds['training']:.1f}", f"{seconds['evaluation']:.1f}", versions,
                 html.escape(model["machine"])]
            )  # fmt: skip
    flags = list(dict.fromkeys(n for m in models for n in m["flags"]))
    trained = [m for m in models if m["flags"]]
    settings = [["flag", *(shown_name(m) for m in trained)]]
    for flag in flags:
        values = [html.escape(str(m["flags"].get(flag, "-"))) for m in trained]
        settings.append([f"<code>{html.escape(flag)}</code>", *values])
    return (
        f"{html_table(rows)}<details><summary>All flags</summary>{html_table(settings)}</details>"
    )


def data_section(numbers: Mapping[str, Any]) -> str:
    """Return the split, the audit where there is one, notes and findings."""
    texts = "".join(
        f"<pre>{html.escape(text)}</pre>" for text in (numbers["split"], numbers["audit"]) if text
    )
    notes = "".join(
        f"<li>{html.escape(text)}</li>" for text in numbers["notes"] + numbers["findings"]
    )
    return f"{texts}<ul>{notes}</ul>" if notes else texts


def legend(models: Sequence[Mapping[str, Any]], chosen: Sequence[int] | None = None) -> str:
    """Return the names of the models beside their lines, for all models or some positions."""
    chosen = range(len(models)) if chosen is None else chosen
    items = "".join(f"<li>{swatch(at)} {shown_name(models[at])}</li>" for at in chosen)
    return f'<ul class="legend">{items}</ul>'


def swatch(at: int) -> str:
    """Return a short piece of the line of a series."""
    return (
        f'<svg viewBox="0 0 28 10" style="display:inline-block;width:28px" aria-hidden="true">'
        f'<path class="line s{at % 6}" d="M0 5L28 5"/></svg>'
    )


def shown_name(model: Mapping[str, Any]) -> str:
    """Return the escaped name of a model."""
    return html.escape(str(model["name"]))


def figure(title: str, chart: str, caption: str = "") -> str:
    """Return a chart with its title and caption."""
    note = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure><h3>{html.escape(title)}</h3>{chart}{note}</figure>"


def grid(figures: Sequence[str]) -> str:
    """Return charts side by side."""
    return f'<div class="grid">{"".join(figures)}</div>'


def html_table(rows: Sequence[Sequence[str]], *, texts: bool = False) -> str:
    """Return a table, whose first row holds the titles of the columns. Cells are HTML."""
    kinds = [
        ' class="text"' if cell in _TEXTS or (texts and at) else ""
        for at, cell in enumerate(rows[0])
    ]
    head = "".join(f'<th scope="col"{kinds[at]}>{cell}</th>' for at, cell in enumerate(rows[0]))
    body = "".join(
        f"<tr>{''.join(f'<td{kinds[at]}>{cell}</td>' for at, cell in enumerate(row))}</tr>"
        for row in rows[1:]
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def shown_number(value: float | None) -> str:
    """Return a number with four decimals, or a dash."""
    return "-" if value is None else f"{value:.4f}"
