"""Verification that a version gives the answers of the Keras model in a fresh process."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from typing import Any

from kerasrec.data.encoding.vocabulary import KeyedTable
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.schema import Schema
from kerasrec.serving.artifact import recorded_requests
from kerasrec.serving.artifact.checksums import check_checksums
from kerasrec.serving.artifact.versions import StrPath, find_version
from kerasrec.serving.spec import make_spec
from kerasrec.serving.verification import reference
from kerasrec.serving.verification._compare import BOUND, SignatureCheck, compare
from kerasrec.serving.verification.budget import read_report
from kerasrec.types import Columns


@dataclasses.dataclass(frozen=True)
class Verification:
    """Report of `verify`. `str()` of it is a table.

    Attributes:
        path: the version.
        tensorflow: TensorFlow version that loaded it.
        operations: number of kinds of operations in the graph, all of stock TensorFlow.
        graph_bytes: size of `saved_model.pb`; a message may not be above 2 GB.
        warmed: number of warm-up requests that ran.
        quantization: accuracy loss of smaller tables, as measured by `export`; None for float32.
        kind_of_rows: "users", or "rows" where the schema has no user.
        rows: description of the user of each row, or of the row.
        bound: largest difference allowed.
        signatures: a check for each.
    """

    path: pathlib.Path
    tensorflow: str
    operations: int
    graph_bytes: int
    warmed: int
    quantization: Mapping[str, Any] | None
    kind_of_rows: str
    rows: tuple[str, ...]
    bound: float
    signatures: tuple[SignatureCheck, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Return all problems; empty if the version is correct."""
        return tuple(problem for check in self.signatures for problem in check.problems)

    def __str__(self) -> str:
        about = [
            f"{self.path}: loaded by TensorFlow {self.tensorflow} in a fresh process, kerasrec and "
            "keras not imported",
            f"{self.kind_of_rows}: {', '.join(self.rows)}; in batches of 1, 7 and 64",
            f"graph: {self.graph_bytes:,} bytes, {self.operations} kinds of operations, all stock; "
            f"{self.warmed} warm-up requests ran",
            *self._about_quantization(),
        ]
        lines = [
            *(
                textwrap.fill(
                    line, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
                )
                for line in about
            ),
            f"{'signature':<16} {'requests':>8} {'max difference':>15} {'between batches':>16} "
            f"{'cold ms':>8} {'warm ms':>8}",
        ]
        lines += [
            f"{check.signature:<16} {check.requests:>8} {check.max_difference:>15.1e} "
            f"{check.neighbour_difference:>16.1e} {check.cold_milliseconds:>8.1f} "
            f"{check.warm_milliseconds:>8.2f}"
            for check in self.signatures
        ]
        lines.append(
            "\n".join(f"WRONG: {problem}" for problem in self.problems)
            or f"verified: every difference is within {self.bound:g}"
        )
        return "\n".join(lines)

    def _about_quantization(self) -> list[str]:
        if self.quantization is None:
            return []
        cost = {n: v for n, v in self.quantization.items() if isinstance(v, float)}
        costs = ", ".join(f"{name} {value:.4g}" for name, value in cost.items())
        return [f"quantization: {self.quantization['tables']}; against float32 at export: {costs}"]


class VerificationError(RuntimeError):
    """Error raised if a version loads but does not answer as the Keras model does.

    Args:
        report: the report of `verify`.
    """

    def __init__(self, report: Verification) -> None:
        super().__init__(f"verify: {len(report.problems)} problems\n{report}")
        self.report = report


def verify(
    directory: StrPath,
    *,
    model: Any = None,
    vocabularies: Mapping[str, Encoder] | None = None,
    users: Columns | None = None,
    items: Columns | None = None,
    tables: Mapping[str, KeyedTable] | None = None,
    candidates: Any = None,
) -> Verification:
    """Replay requests in a fresh process and compare the answers with those of the Keras model.

    The process imports TensorFlow only and loads the graph as TensorFlow Serving does. It runs
    every signature in batches of 1, 7 and 64, for known, unknown, empty, unicode and very long ids,
    with and without exclusions, and of a table for rows without any value and numbers far outside
    those of the training rows. Neighbours and padding of a row differ between the batches. It then
    runs the warm-up requests, if the version has any. Numbers may differ by 1e-5, relative where
    they exceed 1. Rankings must be equal, except that items with scores this close may swap places.

    Args:
        directory: a version, or the folder that holds the versions, of which the newest is used.
        model: the Keras model, to recompute the answers; None for the recorded ones.
        vocabularies: as for `export`; needed with `model`.
        users: as for `export`; only with `model`.
        items: as for `export`; only with `model`.
        tables: as for `export`; only with `model`.
        candidates: as for `export`; only with `model`.

    Returns:
        The report, whose `str()` is a table.

    Raises:
        ValueError: if there is no SavedModel, it is damaged, or the arguments do not fit together.
        VerificationError: if an answer differs; its `report` tells which one.
    """
    path = find_version(directory)
    schema = _read_schema(path)
    if model is None:
        if any(one is not None for one in (vocabularies, users, items, tables, candidates)):
            raise ValueError(
                "verify: vocabularies, users, items, tables and candidates are only used to "
                "recompute answers; pass model= as well."
            )
        recorded = recorded_requests.read(path)
    else:
        options = recorded_requests.read(path)["options"]
        given = {"users": users, "items": items, "tables": tables, "candidates": candidates}
        recorded = _record_anew(model, vocabularies, given, options)
    check_checksums(path)
    result = _run_fresh(path, recorded)
    if "error" in result:
        raise ValueError(
            f"verify: {str(path)!r} does not load or run: {result['error']}. It is damaged or "
            "incomplete: export the model again."
        )
    try:
        checks = compare(recorded["requests"], result)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(
            f"verify: the recorded requests of {str(path)!r} are not in the form that export "
            f"writes ({type(error).__name__}: {error}). Export the model again."
        ) from error
    report = Verification(
        path=path,
        tensorflow=result["tensorflow"],
        operations=result["operations"],
        graph_bytes=result["graph_bytes"],
        warmed=result["warmed"],
        quantization=read_report(path),
        kind_of_rows="users" if schema.user else "rows",
        rows=tuple(recorded["rows"]),
        bound=BOUND,
        signatures=checks,
    )
    if report.problems:
        raise VerificationError(report)
    return report


def _read_schema(path: pathlib.Path) -> Schema:
    try:
        text = (path / "schema.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"verify: {str(path)!r} has no readable schema.json ({error}). Export the model again."
        ) from error
    return Schema.from_json(text)


def _record_anew(
    model: Any,
    vocabularies: Mapping[str, Encoder] | None,
    given: dict[str, Any],
    options: dict[str, Any],
) -> dict[str, Any]:
    if vocabularies is None:
        raise ValueError(
            "verify: model= needs vocabularies=, those that the model was exported with."
        )
    spec = make_spec(
        model,
        vocabularies,
        **given,
        k=options["ks"] or None,  # a table has none
        signatures=options["signatures"],
        filter_by=options["filter_by"],
        quantize=options["tables"],
    )
    return reference.record(spec)


def _run_fresh(path: pathlib.Path, recorded: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kerasrec-verify-") as folder:
        requests = pathlib.Path(folder, "requests.json")
        result = pathlib.Path(folder, "result.json")
        requests.write_text(json.dumps(recorded), encoding="utf-8")
        script = pathlib.Path(__file__).with_name("fresh_process.py")
        # -I: neither the working directory nor PYTHONPATH can add other modules.
        command = [sys.executable, "-I", str(script), str(path), str(requests), str(result)]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if not result.is_file():
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"the process ended with code {run.returncode}: {last}"}
        answer: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        if answer["imported"]:
            return {"error": f"loading it imported {answer['imported']}"}
        return answer
