"""Report as one self-contained HTML page."""

import html
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from kerasrec.reports.charts import Line, bar_chart, line_chart
from kerasrec.reports.numbers import LABEL_METRICS

_TEXTS = ("versions", "machine")
_LOSSES = ("loss", "val_loss")


def page(numbers: Mapping[str, Any]) -> str:
    """Return the page of a report.

    Args:
        numbers: result of `numbers`.

    Returns:
        HTML with inline style, charts and numbers.
    """
    models = numbers["models"]
    k = numbers["list_length"]
    sections = [
        ("Models", _summary(numbers)),
        ("Metric against k", _curves(models)),
        ("Learning curves", _learning(models)),
        ("Segments", _segments(models, k)),
        ("Popularity and coverage", _lists(models, k)),
        ("Sample lists", _samples(models)),
        ("Runs", _runs(models)),
        ("Data", _data(numbers)),
    ]
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections)
    title = html.escape(f"{numbers['data']}: {', '.join(model['name'] for model in models)}")
    style = pathlib.Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    held = json.dumps(numbers, allow_nan=False).replace("</", "<\\/")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body><h1>{html.escape(str(numbers['data']))}</h1>{body}"
        f'<script type="application/json" id="numbers">{held}</script></body></html>\n'
    )


def _summary(numbers: Mapping[str, Any]) -> str:
    models, metrics = numbers["models"], numbers["metrics"]
    errors = [name for name in LABEL_METRICS if any(name in m["errors"] for m in models)]
    rows = [["model", *metrics, *errors]]
    for model in models:
        row = [_name(model)]
        for name in metrics:
            value = model["metrics"][name]
            mean = _best(_number(value["mean"]), model, name, numbers)
            row.append(
                f"{mean}{_mark(model, name)}"
                f"<small>{value['low']:.4f} to {value['high']:.4f}</small>"
            )
        for name in errors:
            row.append(_best(_number(model["errors"].get(name)), model, name, numbers))
        rows.append(row)
    facts = numbers["protocol"]
    return _table(rows) + (
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
    return _legend(models) + _grid([_against_k(models, kind) for kind in models[0]["curves"]])


def _against_k(models: Sequence[Mapping[str, Any]], kind: str) -> str:
    lines = [
        Line(m["name"], at, c["k"], c["mean"], c["low"], c["high"])
        for at, m in enumerate(models)
        if (c := m["curves"].get(kind))
    ]
    chart = line_chart(kind, lines, x_label="k", y_label=f"{kind}@k", from_zero=True)
    return _figure(f"{kind}@k", chart, "mean and 95 % interval")


def _learning(models: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for name in dict.fromkeys(n for m in models for n in m["history"]):
        if "/" in name or name == "learning_rate":
            continue
        # Losses of different kinds are not comparable, and share no axis.
        kinds = {m["loss"] if name in _LOSSES else "" for m in models if name in m["history"]}
        for kind in sorted(kinds):
            lines = _histories(models, name, kind if name in _LOSSES else None)
            chart = line_chart(name, lines, x_label="epoch", y_label=name)
            figures.append(_figure(f"{name}: {kind}" if kind else name, chart))
    norms = [
        Line(m["name"], at, *_norms(m["history"]))
        for at, m in enumerate(models)
        if any(n.startswith("grad_norm/") for n in m["history"])
    ]
    if norms:
        chart = line_chart("gradient norm", norms, x_label="epoch", y_label="norm", from_zero=True)
        caption = "root of the summed squares over the variables"
        figures.append(_figure("Gradient norm", chart, caption))
    if not figures:
        return '<p class="empty">No run has epochs.</p>'
    return _legend(models, [at for at, m in enumerate(models) if m["history"]]) + _grid(figures)


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


def _segments(models: Sequence[Mapping[str, Any]], k: int) -> str:
    figures = []
    for kind, caption in (
        ("activity", "users by thirds of their training rows"),
        ("popularity", "test items by popularity: each part has a third of the training rows"),
    ):
        rows = [{row["segment"]: row for row in m["segments"][kind]} for m in models]
        groups = list(dict.fromkeys(name for mine in rows for name in mine))
        for metric in (f"ndcg@{k}", f"recall@{k}"):
            bars = [
                (m["name"], at, [rows[at].get(name, {}).get(metric) for name in groups])
                for at, m in enumerate(models)
            ]
            title = f"{metric} by {'user activity' if kind == 'activity' else 'item popularity'}"
            figures.append(_figure(title, bar_chart(title, groups, bars, y_label=metric), caption))
    return _legend(models) + _grid(figures)


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
        table.append([_name(m), *(_number(m["lists"]["figures"][name]) for name in names)])
    note = '<p class="soft">As kerasrec.evaluation.beyond_accuracy defines them.</p>'
    return _table(table) + note + _legend(models) + _grid(
        [
            _figure(
                "Share of the lists that popular items take",
                line_chart("popularity", shares, x_label="share of items, most popular first",
                           y_label=f"share of top-{k} positions", from_zero=True),
                f"{_swatch(len(models))} training rows",
            ),
            _figure(
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
        rows = [["position", *map(_name, models)]]
        for at in range(max(map(len, theirs))):
            titles = [items[at] if at < len(items) else "" for items in theirs]
            cells = [f"{html.escape(t)}{' ●' if t in hits else ''}" for t in titles]
            rows.append([str(at + 1), *cells])
        past, test = (html.escape("; ".join(user[part])) for part in ("history", "test"))
        tables.append(
            f"<h3>User {html.escape(user['user'])}</h3><p>Before: {past or '-'}</p>"
            f"<p>Test ●: {test}</p>{_table(rows, texts=True)}"
        )
    return "".join(tables)


def _runs(models: Sequence[Mapping[str, Any]]) -> str:
    rows = [["run", "model", "seed", "epochs", "training s", "evaluation s", "versions", "machine"]]
    for model in models:
        if model["flags"]:
            epochs = max((len(values) for values in model["history"].values()), default=0)
            seconds = model["seconds"]
            versions = ", ".join(f"{n} {v}" for n, v in model["versions"].items())
            rows.append(
                [_name(model), model["model"], str(model["seed"]), str(epochs),
                 f"{seconds['training']:.1f}", f"{seconds['evaluation']:.1f}", versions,
                 html.escape(model["machine"])]
            )  # fmt: skip
    flags = list(dict.fromkeys(n for m in models for n in m["flags"]))
    trained = [m for m in models if m["flags"]]
    settings = [["flag", *(_name(m) for m in trained)]]
    for flag in flags:
        values = [html.escape(str(m["flags"].get(flag, "-"))) for m in trained]
        settings.append([f"<code>{html.escape(flag)}</code>", *values])
    return f"{_table(rows)}<details><summary>All flags</summary>{_table(settings)}</details>"


def _data(numbers: Mapping[str, Any]) -> str:
    texts = "".join(
        f"<pre>{html.escape(text)}</pre>" for text in (numbers["split"], numbers["audit"])
    )
    notes = "".join(
        f"<li>{html.escape(text)}</li>" for text in numbers["notes"] + numbers["findings"]
    )
    return f"{texts}<ul>{notes}</ul>" if notes else texts


def _legend(models: Sequence[Mapping[str, Any]], chosen: Sequence[int] | None = None) -> str:
    chosen = range(len(models)) if chosen is None else chosen
    items = "".join(f"<li>{_swatch(at)} {_name(models[at])}</li>" for at in chosen)
    return f'<ul class="legend">{items}</ul>'


def _swatch(at: int) -> str:
    return (
        f'<svg viewBox="0 0 28 10" style="display:inline-block;width:28px" aria-hidden="true">'
        f'<path class="line s{at % 6}" d="M0 5L28 5"/></svg>'
    )


def _name(model: Mapping[str, Any]) -> str:
    return html.escape(str(model["name"]))


def _figure(title: str, chart: str, caption: str = "") -> str:
    note = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure><h3>{html.escape(title)}</h3>{chart}{note}</figure>"


def _grid(figures: Sequence[str]) -> str:
    return f'<div class="grid">{"".join(figures)}</div>'


def _table(rows: Sequence[Sequence[str]], *, texts: bool = False) -> str:
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


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
