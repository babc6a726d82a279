"""Requests that run together are answered as if each ran alone."""

import asyncio
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kerasrec.serving.server import Settings
from kerasrec.serving.server.batcher import Batcher
from kerasrec.serving.server.errors import ServingError
from kerasrec.serving.server.model_version import ModelVersion


class Watched:
    """A version whose calls are counted, and wait until the gate is open."""

    def __init__(self, loaded):
        self._loaded = loaded
        self.signatures = loaded.signatures
        self.rows = []
        self.gate = threading.Event()

    def run(self, signature, arrays):
        self.gate.wait(600)
        array = next(iter(arrays.values()))
        self.rows.append(len(array) if array.ndim else None)
        return self._loaded.run(signature, arrays)


def together(loaded, requests, *, threads=1, cancel=(), **options):
    """Answers of requests that all wait behind the first."""
    watched = Watched(loaded)
    waited = []
    settings = Settings(
        **{"max_batch_rows": 8, "max_queued": 100, **options}, batch_threads=threads
    )
    metrics = types.SimpleNamespace(batch=lambda *seconds: waited.append(seconds))

    async def main():
        with ThreadPoolExecutor(threads) as executor:
            batcher = Batcher(watched, executor, settings, metrics)
            tasks = []
            for name, arrays, rows in requests:
                signature = loaded.signatures[name]
                tasks.append(asyncio.ensure_future(batcher.run(signature, arrays, rows)))
                await asyncio.sleep(0)
            for place in cancel:
                tasks[place].cancel()
            await asyncio.sleep(0)
            watched.gate.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(main()), watched.rows, waited


@pytest.fixture(scope="module")
def half(hand_made):
    loaded = ModelVersion(hand_made / "1")
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def films(movies):
    loaded = ModelVersion(movies / "1")
    yield loaded
    loaded.close()


def x(*values):
    return {"x": np.float32(values)}


def test_what_waits_runs_together_up_to_the_limit(half):
    requests = [("serving_default", x(*[place] * 3), 3) for place in range(5)]
    answers, rows, waited = together(half, requests)
    # The first ran alone, then as many as fit into 8 rows.
    assert rows == [3, 6, 6]
    assert [answer["y"].tolist() for answer in answers] == [[2 * p + 0.5] * 3 for p in range(5)]
    assert len(waited) == 5 and all(seconds >= 0 for pair in waited for seconds in pair)


def test_a_request_that_fails_does_not_fail_its_neighbours(half):
    requests = [("fragile", x(value), 1) for value in (1.0, 2.0, -3.0, 4.0)]
    answers, rows, _ = together(half, requests)
    assert rows == [1, 3, 1, 1, 1]
    assert isinstance(answers[2], ServingError) and "negative" in answers[2].message
    assert [answers[place]["y"].tolist() for place in (0, 1, 3)] == [[1.5], [2.5], [4.5]]


def test_signatures_do_not_mix_and_scalars_run_alone(half):
    n = {"n": np.array(3, np.int32)}
    requests = [("serving_default", x(1.0), 1), ("scalar", n, 1), ("fragile", x(1.0), 1)]
    answers, rows, _ = together(half, [*requests, ("scalar", n, 1), *requests])
    assert rows == [1, None, 2, None, 1, None]
    assert [int(answers[place]["doubled"]) for place in (1, 3, 5)] == [6, 6, 6]


def test_a_request_that_nobody_waits_for_does_not_run(half):
    requests = [("serving_default", x(place), 1) for place in range(4)]
    answers, rows, _ = together(half, requests, cancel=(1, 2))
    assert rows == [1, 1]
    assert [type(answer).__name__ for answer in answers[1:3]] == ["CancelledError"] * 2


def test_a_full_queue_refuses(half):
    requests = [("serving_default", x(place), 1) for place in range(5)]
    answers, _, _ = together(half, requests, max_queued=2)
    assert [getattr(a, "code", "OK") for a in answers] == ["OK"] * 3 + ["UNAVAILABLE"] * 2


def test_lists_of_exclusions_of_any_width_run_together(films):
    signature = films.signatures["recommend"]
    users = np.array([b"ann", b"bob", "né".encode(), b"nobody"], object)
    widths = [3, 0, 1, 7]
    rng = np.random.default_rng(0)
    requests = [
        {"user_id": users[[place]], "exclude": rng.choice(np.arange(100, 140), (1, width))}
        for place, width in enumerate(widths)
    ]
    alone = [films.run(signature, arrays) for arrays in requests]
    first = ("recommend", requests[0], 1)
    answers, rows, _ = together(films, [first, *(("recommend", r, 1) for r in requests)])
    assert rows == [1, 4]
    for answer, expected in zip(answers[1:], alone, strict=True):
        np.testing.assert_array_equal(answer["item_id"], expected["item_id"])
        np.testing.assert_allclose(answer["score"], expected["score"], rtol=1e-6)
