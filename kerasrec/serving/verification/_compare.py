"""Comparison of the answers of a served graph with the expected answers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

BOUND = 1e-5
NUMBERS = ("contributions", "embedding", "outputs", "probability", "score", "scores")
"""Outputs that may differ by the bound. Lists may differ in ties, other outputs not at all."""


@dataclasses.dataclass(frozen=True)
class SignatureCheck:
    """Comparison results of one signature.

    Attributes:
        signature: its name.
        requests: number of replayed requests, each in batches of 1, 7 and 64.
        max_difference: largest |served - Keras| / max(1, |Keras|) of a number.
        neighbour_difference: the same between a row on its own and in larger batches.
        cold_milliseconds: milliseconds of the first call, one row.
        warm_milliseconds: median milliseconds of later calls.
        problems: description of each problem, one line each.
    """

    signature: str
    requests: int
    max_difference: float
    neighbour_difference: float
    cold_milliseconds: float
    warm_milliseconds: float
    problems: tuple[str, ...]


def compare(
    requests: list[dict[str, Any]], result: Mapping[str, Any]
) -> tuple[SignatureCheck, ...]:
    """Return a check for each signature.

    Args:
        requests: requests from `reference.record`.
        result: result of `fresh_process`.
    """
    checks = []
    for name in dict.fromkeys(request["signature"] for request in requests):
        worst = apart = 0.0
        problems: list[str] = []
        pairs = [
            (index, request, output)
            for index, (request, output) in enumerate(zip(requests, result["outputs"], strict=True))
            if request["signature"] == name
        ]
        for index, request, output in pairs:
            alone: dict[str, list[Any]] = {}
            for part in sorted(output, key=lambda part: part["batch"]):
                answers, rows = part["answers"], part["rows"]
                where = f"{name}, request {index}, batch {part['batch']}"
                expected = {
                    key: [value[row] for row in rows] for key, value in request["answers"].items()
                }
                if set(answers) != set(expected):
                    problems.append(
                        f"{where}: outputs {sorted(answers)}, expected {sorted(expected)}"
                    )
                    continue
                for key in sorted(set(answers) & set(NUMBERS)):
                    found = _difference(answers[key], expected[key], f"{where}: {key}", problems)
                    worst = max(worst, found)
                    if part["batch"] == 1:
                        alone.setdefault(key, []).append(answers[key][0])
                    else:
                        same = [alone[key][row] for row in rows]
                        what = f"{where} against rows alone: {key}"
                        apart = max(apart, _difference(answers[key], same, what, problems))
                problems += _differing(answers, expected, request, rows, where)
        cold, warm = result["milliseconds"][name]
        checks.append(SignatureCheck(name, len(pairs), worst, apart, cold, warm, tuple(problems)))
    return tuple(checks)


def _difference(received: Any, expected: Any, where: str, problems: list[str]) -> float:
    """Return the largest difference of two arrays. Add a problem if it exceeds the bound."""
    left, right = np.asarray(received, np.float64), np.asarray(expected, np.float64)
    if left.shape != right.shape:
        problems.append(f"{where} of shape {left.shape}, expected {right.shape}")
        return float("inf")
    # NaN counts as the worst possible difference.
    distance = np.nan_to_num(_distance(left, right), nan=np.inf)
    largest = float(distance.max(initial=0.0))
    if largest > BOUND:
        position = np.unravel_index(int(distance.argmax()), distance.shape)
        problems.append(
            f"{where} {left[position]!s} at {tuple(map(int, position))}, expected "
            f"{right[position]!s}: differs by {largest:.1e}"
        )
    return largest


def _distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.abs(left - right) / np.maximum(1.0, np.abs(right))


def _differing(
    answer: Mapping[str, Any],
    expected: Mapping[str, Any],
    request: Mapping[str, Any],
    rows: list[int],
    where: str,
) -> list[str]:
    """Return the differences other than numbers: flags, counts, classes, items."""
    problems = [
        f"{where}: {key} {answer[key]}, expected {expected[key]}"
        for key in sorted(set(answer) - {"item_id", *NUMBERS})
        if answer[key] != expected[key]
    ]
    for position, items in enumerate(answer.get("item_id", [])):
        wanted, real = expected["item_id"][position], expected["count"][position]
        row = rows[position]
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
    """Return whether an item's score is close enough to the slot's to take its place.

    An item below the end of the recorded ranking may do so if the end of the ranking still ties
    with the slot.
    """
    ranking = request["ranking"]
    ranked, scores = ranking["item_id"][row], np.asarray(ranking["score"][row], np.float64)
    if item in ranked:
        position = ranked.index(item)
    elif ranking["complete"][row] or item in request["inputs"].get("exclude", {row: ()})[row]:
        return False
    else:
        position = len(ranked) - 1
    return bool(_distance(scores[slot], scores[position]) <= 2 * BOUND)
