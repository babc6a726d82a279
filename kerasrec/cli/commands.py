"""Commands that inspect data, run directories and exports, and serve an export."""

import dataclasses
import importlib.util
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import kerasrec
from kerasrec._files import new_file
from kerasrec.cli.data import OWN_TABLES, item_table, load, prepare, refuse_tables, say_form
from kerasrec.cli.examples import audit_examples, prepare_examples
from kerasrec.cli.flags import in_flags
from kerasrec.cli.output import Report
from kerasrec.cli.settings import Source, Splitting, choose
from kerasrec.cli.terminal import import_tensorflow, step
from kerasrec.runs.directory import Run, changes, read_run
from kerasrec.runs.example_records import record_examples
from kerasrec.runs.records import (
    dependent_rows,
    findings,
    label_metrics,
    predictions_of,
    with_findings,
)
from kerasrec.runs.side_tables import item_categories, rows_schema, with_stored_features

if TYPE_CHECKING:  # at run time, only a command that uses it pays for its import
    from kerasrec.data import PreparedExamples

RUNS = "directories that kerasrec fit wrote, of one data set and split; the first is the reference"


def audit(
    data: str,
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    separator: str | None = None,
    quote: str | None = None,
    encoding: str = "utf-8",
    decimal: str | None = None,
    id_type: Literal["auto", "string", "integer"] = "auto",
    user: str | None = "user_id",
    item: str | None = "item_id",
    label: str | None = "rating",
    time: str | None = "timestamp",
    users: str | None = None,
    items: str | None = None,
    tables: Sequence[str] = (),
) -> Report:
    """Report on the rows of a file or a named data set.

    Args:
        data: path of a file, or name of a data set, which knows its own columns.
        format: format of a file, where its name and first lines do not say it.
        columns: names of all columns of a file without header, such as user_id,item_id,rating.
        separator: the character between two fields; found in the first line if it is null.
        quote: the character around quoted fields; '' where quotes are part of the text.
        encoding: of a text file, such as latin-1, cp1252 or utf-16.
        decimal: mark of fractions, a point or a comma.
        id_type: read ids as text or as integers; auto takes integers where each id is one.
        user: column of user ids; null, for user and item, where rows are examples of their label.
        item: column of item ids, or null.
        label: column of ratings; null for implicit feedback.
        time: column that orders the rows; null where there is none.
        users: file with a row for each user; shows what its columns are taken for.
        items: file with a row for each item, likewise.
        tables: files to join to rows without users and items, such as item_id=vectors.parquet.

    Raises:
        ValueError: if there are no rows, or no columns of users and items.
    """
    given = dict(locals())
    source = Source(**given)
    with step(f"Reading {data}"):
        if user is None or item is None:
            return audit_examples(source)
        refuse_tables(source)
        if Path(data).is_file():  # unfiltered, with rows that `load` would reject
            say_form(source)
            del given["data"], given["tables"]
            found = kerasrec.data.audit(data, **given)
        else:
            found = kerasrec.data.audit(load(source).interactions)
    problems = tuple(in_flags(text, (*given, "duplicates")) for text in found.problems)
    found = dataclasses.replace(found, problems=problems)
    return Report(dataclasses.asdict(found), str(found))


def evaluate(
    run: str,
    *,
    k: int | Sequence[int] = (10,),
    data: str | None = None,
    segments: Sequence[str] | None = None,
) -> Report:
    """Evaluate a run on its test rows, beside popularity or the mean label.

    Args:
        run: directory written by `kerasrec fit`.
        k: length of the list, or several such as 5,10.
        data: present path of the training data; null if it has not moved.
        segments: columns of the rows, such as country,device: metrics of the predicted clicks for
            each of their values, with intervals.

    Raises:
        ValueError: if the directory or the data are not those of the training, or k is invalid.
    """
    found, ready = _reopen(run, data)
    clicks = _predicts_clicks(found, ready)
    if segments and not clicks:
        what = f"by --loss {found.flags['loss']}"
        what = "on several classes" if found.flags["loss"] == "log_loss" else what
        raise ValueError(
            f"--segments {','.join(segments)}: segments are of predicted clicks, and this run was "
            f"trained {what}. Leave it out, or train by log_loss on one label."
        )
    columns = {name: _segment_column(ready, name) for name in segments or ()}
    if not found.schema.item:
        return _evaluate_labels(found, ready, columns)
    import_tensorflow()
    with step("Ranking the test rows"), warnings.catch_warnings():  # printed below the metrics
        warnings.simplefilter("ignore", kerasrec.evaluation.ProtocolWarning)
        rows = kerasrec.evaluation.compare(
            {found.flags["model"]: found.model},
            ready.test,
            seen=[ready.train, ready.valid],
            k=k,
            items=ready.items,
        )
        labels = label_metrics(found.model, ready, loss=str(found.flags["loss"]))
    rows = [
        {"model": row["model"], **(labels if row["model"] == found.flags["model"] else {}), **row}
        for row in rows
    ]
    known = findings(ready)
    more, lines = _intervals(found, ready, columns) if clicks else ({}, [])
    text = with_findings("\n\n".join([kerasrec.evaluation.format_table(rows), *lines]), known)
    return Report({"run": run, "metrics": rows, **more, "findings": known}, text)


def export(
    run: str,
    directory: str,
    *,
    version: int | None = None,
    k: int | Sequence[int] | None = None,
    signatures: Sequence[str] | None = None,
    quantize: Literal["float32", "float16", "int8"] = "float32",
    filter_by: str | None = None,
    items: str | None = None,
    keep: int | None = None,
    licence: str | None = None,
) -> Report:
    """Export a run for TensorFlow Serving.

    Args:
        run: directory written by `kerasrec fit`.
        directory: folder of the versions; created if it does not exist.
        version: number of the version; null for the highest plus one.
        k: length of the lists that the served model recommends; null for 10. Several, as in 10,100,
            give signatures recommend_10 and recommend_100.
        signatures: names of the signatures to write; null for all that the model has.
        quantize: storage type of embedding tables. Smaller types must stay within an error budget.
        filter_by: column of item categories, such as genres, that requests may filter by (input
            `allow`): a feature of the items, or a column of `items`. Several categories in one
            cell are separated by "|".
        items: file of the items with that column. Named data sets have their own.
        keep: number of older versions to keep; null for all.
        licence: terms of the model, for its card.

    Raises:
        ValueError: if the version exists, or the run, k, keep or the categories are invalid.
    """
    import_tensorflow()
    with step(f"Reading {run}"):
        found = read_run(run)
        vocabularies, tables = found.vocabularies, found.items
        if filter_by is not None and (items is not None or filter_by not in (tables or {})):
            column, categories = item_categories(
                found, item_table(found, items), filter_by=filter_by
            )
            vocabularies = {**vocabularies, filter_by: categories}
            tables = {**(tables or {}), **column}
        elif items is not None:
            raise ValueError(f"--items {items}: it is read for --filter_by alone; name a column.")
    with step("Exporting"):
        path = kerasrec.serving.export(
            found.model,
            directory,
            vocabularies=vocabularies,
            version=version,
            k=k,
            users=found.users,
            items=tables,
            tables=found.tables,
            signatures=signatures,
            filter_by=filter_by,
            quantize=quantize,
            keep=keep,
            card=_card(found, licence),
        )
    text = f"Written to {path}. Check it with: kerasrec verify {directory}"
    return Report({"run": run, "path": path, "version": int(path.name)}, text)


def verify(directory: str) -> Report:
    """Reload an export in a fresh process and compare its answers with the model's.

    Args:
        directory: a version, or the folder of versions to verify the newest.

    The exit code is 1 if an answer differs.

    Raises:
        ValueError: if there is no readable export.
    """
    import_tensorflow()
    try:
        with step("Replaying the recorded requests"):
            found = kerasrec.serving.verify(directory)
    except kerasrec.serving.VerificationError as error:
        found = error.report
    document = {**dataclasses.asdict(found), "problems": found.problems}
    return Report(document, str(found), code=1 if found.problems else 0)


def rollback(directory: str, *, to: int | None = None) -> Report:
    """Make an older version the newest one, so that servers serve it.

    Args:
        directory: the folder of versions.
        to: the version to go back to, or a withdrawn one; null for the second newest.

    Raises:
        ValueError: if there is no such version.
    """
    path = kerasrec.serving.rollback(directory, to=to)
    text = f"{path} is the newest version now. Later ones were moved to {directory}/.withdrawn-*"
    return Report({"path": path, "version": int(path.name)}, text)


def report(runs: Sequence[str], *, output: str = "report.html") -> Report:
    """Compare runs on one self-contained HTML page, with its numbers in a JSON file.

    Args:
        runs: directories written by `kerasrec fit`, of one data set and split. The others are
            tested against the first.
        output: the page. The numbers go to the same name with .json.

    Raises:
        ValueError: if a directory is no run or holds no records, the runs have different rows, or
            the output does not end in .html.
    """
    path = Path(output)
    if path.suffix != ".html":
        raise ValueError(f"--output {output}: expected a name that ends in .html.")
    with step("Comparing the runs"):
        numbers = kerasrec.reports.numbers([kerasrec.reports.read_recorded(run) for run in runs])
        texts = {
            path.with_suffix(".json"): json.dumps(numbers, indent=2, allow_nan=False) + "\n",
            path: kerasrec.reports.page(numbers),
        }
    for file, text in texts.items():
        with new_file(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    numbers_path = path.with_suffix(".json")
    return Report({"page": path, "numbers": numbers_path}, f"Written to {path} and {numbers_path}.")


def serve(
    directory: str,
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    rest_port: int = 8501,
    grpc_port: int = 8500,
    poll_seconds: float = 1.0,
    max_batch_rows: int = 64,
    batch_threads: int = 2,
    max_queued: int = 1000,
    max_rows: int = 1024,
    max_body_mib: float = 4.0,
    timeout_seconds: float = 30.0,
    grace_seconds: float = 10.0,
    token_file: str | None = None,
    certificate_file: str | None = None,
    key_file: str | None = None,
    titles_file: str | None = None,
    history_file: str | None = None,
    log_requests: bool = False,
) -> None:
    """Serve an export on this machine as TensorFlow Serving does, with a page at /.

    Args:
        directory: the folder of versions. The newest is served, and newer ones as they appear.
        name: name of the model in URLs; null for the name of the folder.
        host: address to listen on; 0.0.0.0 for all.
        rest_port: port of REST, the metrics and the page.
        grpc_port: port of gRPC.
        poll_seconds: time between two checks for a new version.
        max_batch_rows: largest number of rows in a batch.
        batch_threads: number of batches that run concurrently.
        max_queued: largest number of waiting requests; further ones are rejected at once.
        max_rows: largest number of rows of one request.
        max_body_mib: largest body of one request in MiB.
        timeout_seconds: timeout of a request.
        grace_seconds: time for requests to finish after SIGTERM.
        token_file: file of the bearer token that requests must send; null for no authentication.
        certificate_file: PEM file of the certificate chain, for TLS.
        key_file: PEM file of its private key.
        titles_file: CSV of item ids and titles, for the page.
        history_file: CSV of user ids and item ids, oldest first or with a column timestamp, for the
            page.
        log_requests: log every request, not only failures.

    Raises:
        ValueError: if nothing can be served, a port is taken, or the extra `serve` is missing.
    """
    given = dict(locals())
    del given["directory"], given["name"]
    import_tensorflow(announced=False)  # stderr is the server's log
    for package in ("aiohttp", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f'kerasrec serve needs {package}: pip install "kerasrec[serve]"')
    server = kerasrec.serving.server
    server.serve(directory, name=name, settings=server.Settings(**given))


def _card(run: Run, licence: str | None) -> dict[str, Any]:
    """Return the model card entries that a run provides."""
    card: dict[str, Any] = {
        "description": f"Written by `kerasrec fit {run.flags['model']}`.",
        "data": {
            "data": run.flags["data"],
            "split": run.flags["split"] or _method(run),
            "seed": run.flags["seed"],
            **{f"{part} rows": about["rows"] for part, about in run.split.items()},
        },
        "metrics": json.loads((run.directory / "metrics.json").read_text(encoding="utf-8")),
    }
    return card if licence is None else {**card, "licence": licence}


def _method(run: Run) -> str:
    """Return how a run whose flags leave it open split its rows."""
    about = json.loads((run.directory / "run.json").read_text(encoding="utf-8"))
    return str(about["split"].splitlines()[0])


def _evaluate_labels(run: Run, ready: "PreparedExamples", columns: dict[str, Any]) -> Report:
    """Evaluate a run of rows without users and items, beside the mean label."""
    import_tensorflow()
    with step("Predicting the test rows"):
        name = str(run.flags["model"])
        found = record_examples(name, run.model, ready, loss=str(run.flags["loss"]))
    known = found.about["findings"]
    more, lines = _intervals(run, ready, columns) if _predicts_clicks(run, ready) else ({}, [])
    document = {"run": run.directory, "metrics": found.metrics, **more, "findings": known}
    tables = [kerasrec.evaluation.format_table(found.metrics), *lines]
    return Report(document, with_findings("\n\n".join(tables), known))


def _predicts_clicks(run: Run, ready: Any) -> bool:
    """Return whether a run predicts one label of yes and no, not several classes or numbers."""
    several = getattr(ready, "classes", ()) or run.flags.get("num_classes") is not None
    return run.flags["loss"] == "log_loss" and not several


def _segment_column(ready: Any, name: str) -> Any:
    """Return a raw column of the test rows."""
    table = ready.split.test.table
    if name not in table.column_names:
        raise ValueError(
            f"--segments {name}: expected a column of the rows of the run; received one that is "
            f"not among {table.column_names}."
        )
    return table[name]


def _intervals(run: Run, ready: Any, columns: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return intervals of the click metrics, of all rows and by segment, and tables of them."""
    evaluation = kerasrec.evaluation
    with step("Predicting the test rows"):
        predicted, users = predictions_of(run.model, ready), dependent_rows(ready)
        intervals = {
            name: dataclasses.asdict(interval)
            for name, interval in evaluation.click_intervals(predicted, users).items()
        }
        segments = {
            name: evaluation.click_segments(predicted, column, users)
            for name, column in columns.items()
        }
    ends = {"mean": "value", "low": "95 % from", "high": "to"}
    rows = [
        {"metric": name, **{ends[end]: value for end, value in interval.items()}}
        for name, interval in intervals.items()
    ]
    tables = [evaluation.format_table(rows)]
    from kerasrec.evaluation.clicks.segments import segment_table  # imports Arrow

    for name, found in segments.items():
        shown = [{name: row.pop("segment"), **row} for row in segment_table(found)]
        tables.append(evaluation.format_table(shown))
    return {"intervals": intervals, **({"segments": segments} if segments else {})}, tables


def _reopen(directory: str, data: str | None) -> "tuple[Run, Any]":
    """Read a run and the rows it was made of."""
    with step(f"Reading {directory}"):
        run = read_run(directory)
        if run.flags["refit"]:
            raise ValueError(
                f"{directory}: its model was trained again on all rows (--refit), the test rows "
                "too. The metrics of the first model are in metrics.json."
            )
        flags = {**run.flags, **OWN_TABLES, "data": data or run.flags["data"]}
        if data is None and Path(flags["data"]).is_absolute() and not Path(flags["data"]).exists():
            raise ValueError(
                f"{directory}: the data of the training, {flags['data']}, no longer exist. "
                "Give their path with --data."
            )
        about: Any = {"seed": flags["seed"], "vocabularies": run.vocabularies}
        source, splitting = choose(Source, flags), choose(Splitting, flags)
        ready: Any
        if run.schema.item:
            _, ready = prepare(source, splitting, schema=rows_schema(run), **about)
            ready = with_stored_features(ready, run)
        else:
            ready = prepare_examples(
                run.flags["model"],
                source,
                splitting,
                schema=run.schema,
                classes=run.schema.label in run.vocabularies,
                **about,
            )
    if changed := changes(run.split, ready.fingerprint()):
        raise ValueError(
            f"{directory}: the rows of {flags['data']} are not those of the training: other "
            f"{', '.join(changed)}. Restore the data, or train again."
        )
    if not len(ready.split.test):
        raise ValueError(f"{directory}: the run has no test rows (--test 0) to evaluate on.")
    if histories := run.schema.item_histories:
        ready = ready.with_history(histories[0].max_length)
    return run, ready
