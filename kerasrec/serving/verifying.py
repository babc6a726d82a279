"""Verify: a version reloaded in a fresh process answers as the Keras model did."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasrec.data.vocabulary import Vocabulary
from kerasrec.schema import Schema
from kerasrec.serving import reference
from kerasrec.serving.checksums import check_checksums
from kerasrec.serving.raw_ids import candidate_columns, check_vocabularies
from kerasrec.serving.versions import StrPath, find_version
from kerasrec.types import Columns

BOUND = 1e-5


@dataclasses.dataclass(frozen=True)
class SignatureCheck:
    """What one signature answered.

    Attributes:
        signature: its name.
        requests: number of replayed requests, each at batch 7 and row by row.
        max_difference: largest |served - Keras| / max(1, |Keras|) of a score.
        neighbour_difference: the same between a row in the batch and the row alone.
        problems: what is wrong, one line each.
    """

    signature: str
    requests: int
    max_difference: float
    neighbour_difference: float
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Verification:
    """The report of `verify`; `str()` of it is a table.

    Attributes:
        path: the version.
        tensorflow: the version that loaded it.
        operations: number of kinds of operations in the graph, all of stock TensorFlow.
        rows: what the user of each row is.
        bound: largest difference allowed.
        signatures: a check for each.
    """

    path: pathlib.Path
    tensorflow: str
    operations: int
    rows: tuple[str, ...]
    bound: float
    signatures: tuple[SignatureCheck, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong; empty if the version is as it must be."""
        return tuple(problem for check in self.signatures for problem in check.problems)

    def __str__(self) -> str:
        lines = [
            f"{self.path}: loaded by TensorFlow {self.tensorflow} in a fresh process, kerasrec and "
            "keras not imported",
            f"users: {', '.join(self.rows)}; at batch {len(self.rows)} and 1; "
            f"{self.operations} kinds of operations, all stock",
            f"{'signature':<16} {'requests':>8} {'max difference':>15} {'between batches':>16}",
        ]
        lines += [
            f"{check.signature:<16} {check.requests:>8} {check.max_difference:>15.1e} "
            f"{check.neighbour_difference:>16.1e}"
            for check in self.signatures
        ]
        lines.append(
            "\n".join(f"WRONG: {problem}" for problem in self.problems)
            or f"verified: every difference is within {self.bound:g}"
        )
        return "\n".join(lines)


class VerificationError(RuntimeError):
    """A version loads but does not answer as the Keras model does.

    Args:
        report: what was found.
    """

    def __init__(self, report: Verification) -> None:
        super().__init__(f"verify: {len(report.problems)} problems\n{report}")
        self.report = report


def verify(
    directory: StrPath,
    *,
    model: Any = None,
    vocabularies: Mapping[str, Vocabulary] | None = None,
    candidates: Columns | None = None,
) -> Verification:
    """Replays requests in a fresh process and compares the answers with those of the Keras model.

    The process imports TensorFlow alone, loads the graph as TensorFlow Serving does, and runs every
    signature at batch 7 and row by row, for known, unknown and unicode ids, with and without
    exclusions. Scores may differ by 1e-5 (relative where they exceed 1); rankings must be equal,
    but that items whose scores are this close may change places.

    Args:
        directory: a version, or the folder that holds the versions, of which the newest is taken.
        model: the Keras model, to compute the answers anew; None for the recorded ones.
        vocabularies: as for `export`; needed with `model`.
        candidates: as for `export`; only with `model`.

    Returns:
        The report, whose `str()` is a table.

    Raises:
        ValueError: if there is no SavedModel, it is damaged, or the arguments do not fit together.
        VerificationError: if an answer differs; its `report` says which.
    """
    path = find_version(directory)
    _check_schema(path)
    if model is None:
        if vocabularies is not None or candidates is not None:
            raise ValueError(
                "verify: vocabularies and candidates serve to compute answers anew; pass model= "
                "as well."
            )
        recorded = reference.read(path)
    else:
        recorded = _record_anew(model, vocabularies, candidates, k=reference.read(path)["k"])
    check_checksums(path)
    result = _run_fresh(path, recorded)
    if "error" in result:
        raise ValueError(
            f"verify: {str(path)!r} does not load or run: {result['error']}. It is damaged or "
            "incomplete: export the model again."
        )
    try:
        checks = _compare(recorded["requests"], result["outputs"], recorded["k"])
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(
            f"verify: the recorded requests of {str(path)!r} are not in the form that export "
            f"writes ({type(error).__name__}: {error}). Export the model again."
        ) from error
    report = Verification(
        path=path,
        tensorflow=result["tensorflow"],
        operations=result["operations"],
        rows=tuple(recorded["rows"]),
        bound=BOUND,
        signatures=checks,
    )
    if report.problems:
        raise VerificationError(report)
    return report


def _check_schema(path: pathlib.Path) -> None:
    try:
        text = (path / "schema.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"verify: {str(path)!r} has no readable schema.json ({error}). Export the model again."
        ) from error
    Schema.from_json(text)


def _record_anew(
    model: Any,
    vocabularies: Mapping[str, Vocabulary] | None,
    candidates: Columns | None,
    *,
    k: int,
) -> dict[str, Any]:
    from kerasrec.serving.exporting import check_model, in_float32

    if vocabularies is None:
        raise ValueError(
            "verify: model= needs vocabularies=, those that the model was exported with."
        )
    check_model(model)
    used = check_vocabularies(model.schema, vocabularies)
    catalogue = candidate_columns(model.schema, used, candidates)
    return reference.record(in_float32(model), used, catalogue, k=k)


def _run_fresh(path: pathlib.Path, recorded: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kerasrec-verify-") as folder:
        requests = pathlib.Path(folder, "requests.json")
        result = pathlib.Path(folder, "result.json")
        requests.write_text(json.dumps(recorded), encoding="utf-8")
        script = pathlib.Path(__file__).with_name("fresh_process.py")
        # -I: neither the working directory nor PYTHONPATH can bring other modules in.
        command = [sys.executable, "-I", str(script), str(path), str(requests), str(result)]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if not result.is_file():
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"the process ended with code {run.returncode}: {last}"}
        answer: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        if answer["imported"]:
            return {"error": f"loading it imported {answer['imported']}"}
        return answer


def _compare(
    requests: list[dict[str, Any]], outputs: list[dict[str, Any]], k: int
) -> tuple[SignatureCheck, ...]:
    checks = []
    for name in dict.fromkeys(request["signature"] for request in requests):
        worst = apart = 0.0
        problems: list[str] = []
        pairs = [
            (index, request, output)
            for index, (request, output) in enumerate(zip(requests, outputs, strict=True))
            if request["signature"] == name
        ]
        for index, request, output in pairs:
            together = output["batch"]
            alone = {key: [row[key][0] for row in output["rows"]] for key in together}
            expected = request["answers"]
            for batch, answer in ((len(output["rows"]), together), (1, alone)):
                where = f"{name}, request {index}, batch {batch}"
                worst = max(worst, _difference(answer["score"], expected["score"], where, problems))
                problems += _differing(answer, request, where)
            apart = max(apart, _difference(together["score"], alone["score"], name, problems))
        checks.append(SignatureCheck(name, len(pairs), worst, apart, tuple(problems)))
    return tuple(checks)


def _difference(received: Any, expected: Any, where: str, problems: list[str]) -> float:
    """Largest difference of two score arrays; a line in `problems` if it passes the bound."""
    left, right = np.asarray(received, np.float64), np.asarray(expected, np.float64)
    if left.shape != right.shape:
        problems.append(f"{where}: scores of shape {left.shape}, expected {right.shape}")
        return float("inf")
    # A NaN is as wrong as can be.
    distance = np.nan_to_num(_distance(left, right), nan=np.inf)
    largest = float(distance.max(initial=0.0))
    if largest > BOUND:
        place = np.unravel_index(int(distance.argmax()), distance.shape)
        problems.append(
            f"{where}: score {left[place]!s} at {tuple(map(int, place))}, expected "
            f"{right[place]!s}: differs by {largest:.1e}"
        )
    return largest


def _distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.abs(left - right) / np.maximum(1.0, np.abs(right))


def _differing(answer: Mapping[str, Any], request: Mapping[str, Any], where: str) -> list[str]:
    """What differs beside the scores: flags, counts, items."""
    expected = request["answers"]
    if set(answer) != set(expected):
        return [f"{where}: outputs {sorted(answer)}, expected {sorted(expected)}"]
    problems = [
        f"{where}: {key} {answer[key]}, expected {expected[key]}"
        for key in sorted(set(answer) - {"score", "item_id"})
        if answer[key] != expected[key]
    ]
    for row, items in enumerate(answer.get("item_id", [])):
        wanted, real = expected["item_id"][row], expected["count"][row]
        shaped = len(items) == len(wanted) and items[real:] == wanted[real:]
        if not shaped or len(set(items[:real])) != real:
            problems.append(f"{where}, row {row}: items {items}, expected {wanted}")
            continue
        for slot in range(real):
            if items[slot] != wanted[slot] and not _ties(items[slot], slot, row, request):
                problems.append(
                    f"{where}, row {row}: item {items[slot]!r} in slot {slot}, expected "
                    f"{wanted[slot]!r}"
                )
                break
    return problems


def _ties(item: Any, slot: int, row: int, request: Mapping[str, Any]) -> bool:
    """Whether an item's score is so close to the slot's that it may stand there.

    An item below the end of the recorded ranking may, if that end still ties with the slot.
    """
    ranking = request["ranking"]
    ranked, scores = ranking["item_id"][row], np.asarray(ranking["score"][row], np.float64)
    if item in ranked:
        place = ranked.index(item)
    elif ranking["complete"] or item in request["inputs"]["exclude"][row]:
        return False
    else:
        place = len(ranked) - 1
    return bool(_distance(scores[slot], scores[place]) <= 2 * BOUND)
