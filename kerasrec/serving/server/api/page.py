"""Web page at `/`: query the model by hand and see titles, history, scores and latency.

For a table the page is a form with an input per column, and the prediction below.
"""

import pathlib
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from aiohttp import web

from kerasrec.data.tables.table_file import FileForm, TableFile
from kerasrec.schema import Schema
from kerasrec.serving.artifact import frequent_values, recorded_requests
from kerasrec.serving.artifact.sidecars import SCHEMA_FILE
from kerasrec.serving.server.errors import invalid
from kerasrec.serving.server.inference import Inference

PAGE = pathlib.Path(__file__).with_name("page.html")
LONGEST_HISTORY = 200


def add_routes(app: web.Application, inference: Inference) -> None:
    """Add the routes of the page and of the data it requests.

    Args:
        app: the REST application.
        inference: runs the requests.

    Raises:
        ValueError: if the file of titles or of histories is malformed.
    """
    settings = inference.settings
    titles = {} if settings.titles_file is None else read_titles(settings.titles_file)
    histories = None if settings.history_file is None else read_histories(settings.history_file)
    text = PAGE.read_text(encoding="utf-8")

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    async def about(request: web.Request) -> web.Response:
        return web.json_response({**_about(inference), "histories": histories is not None})

    async def history(request: web.Request) -> web.Response:
        user = request.query.get("user", "")
        if histories is None:
            return web.json_response({"known": False, "items": []})
        users, items = histories
        mine = items.filter(pc.equal(users, user)).to_pylist()[-LONGEST_HISTORY:]
        found = [{"item_id": item, "title": titles.get(item, "")} for item in mine]
        return web.json_response({"known": bool(mine), "items": found})

    async def names(request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError as error:
            raise invalid(error) from error
        if not isinstance(body, list):
            raise invalid("expected a list of item ids.")
        return web.json_response({str(item): titles.get(str(item), "") for item in body[:1000]})

    app.router.add_get("/", page)
    app.router.add_get("/page/about", about)
    app.router.add_get("/page/history", history)
    app.router.add_post("/page/titles", names)


def read_titles(path: str) -> dict[str, str]:
    """Read titles by item id, from the first two columns of a file or `item_id` and `title`.

    Raises:
        ValueError: if there are no such columns.
    """
    ids, titles = _read(path, ("item_id", "title"))
    return dict(zip(ids.to_pylist(), titles.to_pylist(), strict=True))


def read_histories(path: str) -> tuple[Any, Any]:
    """Read users and items, oldest first: by `timestamp` if present, else in file order.

    Raises:
        ValueError: if there are no such columns.
    """
    users, items = _read(path)
    file = TableFile.open(path, FileForm(id_type="string"))
    if "timestamp" not in file.names:
        return users, items
    times = file.typed(file.read(["timestamp"])["timestamp"], "time", "timestamp")
    order = np.argsort(times.to_numpy(), kind="stable")
    return users.take(pa.array(order)), items.take(pa.array(order))


def _read(path: str, names: tuple[str, str] = ("user_id", "item_id")) -> tuple[Any, Any]:
    """Read two columns as text, unconverted."""
    file = TableFile.open(path, FileForm(id_type="string"))
    if not set(names) <= set(file.names):
        if len(file.names) < 2:
            raise ValueError(f"{path!r}: expected the columns {list(names)}.")
        names = (file.names[0], file.names[1])
    table = file.read(names)
    first, second = (pc.fill_null(file.typed(table[name], "item", name), "") for name in names)
    return first.combine_chunks(), second.combine_chunks()


def _about(inference: Inference) -> dict[str, Any]:
    """Return what the page needs to know about the served version."""
    with inference.versions.use() as served:
        loaded = served.loaded
        found: dict[str, Any] = {
            "model": inference.model_name,
            "version": loaded.number,
            "user": None,
            "item": None,
            "history": None,
            "beside": [],
            "table": None,
            "values": {},
            "examples": [],
            "signatures": {
                name: {
                    key: {
                        "dtype": port.dtype.name,
                        "rank": len(shape),
                        **({"size": shape[2]} if len(shape) > 2 else {}),
                        **({"width": shape[1]} if len(shape) > 1 and shape[1] else {}),
                    }
                    for key, port in signature.inputs.items()
                    for shape in [port.shape or ()]
                }
                for name, signature in loaded.signatures.items()
            },
        }
        schema_file = loaded.path / SCHEMA_FILE
        if schema_file.is_file():
            schema = Schema.from_json(schema_file.read_text(encoding="utf-8"))
            found["user"] = schema.user_id.name if schema.user else None
            found["item"] = schema.item_id.name if schema.item else None
            found["table"] = None if schema.item else [f.name for f in schema.features]
            found["values"] = frequent_values.read(loaded.path)
            found["examples"] = _examples(loaded.path, "recommend" if schema.item else "predict")
            found["history"] = next((feature.name for feature in schema.item_histories), None)
            found["beside"] = [feature.name for feature in schema.number_histories]
        return found


def _examples(path: pathlib.Path, signature: str) -> list[dict[str, Any]]:
    """Return example inputs: the rows recorded for a signature, or for `recommend_K`."""
    try:
        recorded = recorded_requests.read(path)
    except ValueError:
        return []
    for request in recorded["requests"]:
        if re.fullmatch(rf"{signature}(_\d+)?", request["signature"]):
            inputs = {k: _as_text(v) for k, v in request["inputs"].items() if k != "exclude"}
            columns = zip(*inputs.values(), strict=True)
            rows = [dict(zip(inputs, row, strict=True)) for row in columns]
            kinds = recorded["rows"] if len(recorded["rows"]) == len(rows) else [""] * len(rows)
            found = [{"kind": k, "inputs": row} for k, row in zip(kinds, rows, strict=True)]
            # JSON has no numbers that are missing.
            return [one for one in found if not any(map(_is_missing, one["inputs"].values()))]
    return []


def _is_missing(value: Any) -> bool:
    """Return whether a number, or one in a list, is NaN."""
    return any(map(_is_missing, value)) if isinstance(value, list) else bool(value != value)


def _as_text(value: Any) -> Any:
    """Convert integers to text, since numbers in JavaScript are exact only up to 2^53."""
    if isinstance(value, list):
        return [_as_text(element) for element in value]
    return str(value) if isinstance(value, int) else value
