"""Micro-batching without a timer: requests that arrive while batches run form the next batch.

A request that finds a free thread runs at once and alone. Under load, batches grow on their own.
Everything but the run itself happens in the event loop, so no locks are needed.
"""

import asyncio
import collections
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np

from kerasrec.server.errors import ServingError
from kerasrec.server.loaded import LoadedVersion
from kerasrec.server.signature import Signature
from kerasrec.types import Columns


class _Request:
    __slots__ = ("arrays", "future", "queued", "rows")

    def __init__(self, arrays: Columns, rows: int, future: asyncio.Future[Any]) -> None:
        self.arrays = arrays
        self.rows = rows
        self.future = future
        self.queued = time.perf_counter()


class Batcher:
    """Run the requests of one version in batches.

    Args:
        loaded: the version.
        executor: executor that runs the batches.
        threads: number of batches that run concurrently.
        max_rows: maximum number of rows per batch.
        max_queued: maximum number of waiting requests.
        observe: called with the seconds a request waited and the seconds its batch ran.
    """

    def __init__(
        self,
        loaded: LoadedVersion,
        executor: Executor,
        *,
        threads: int,
        max_rows: int,
        max_queued: int,
        observe: Callable[[float, float], None],
    ) -> None:
        self._loaded = loaded
        self._executor = executor
        self._threads = threads
        self._max_rows = max_rows
        self._max_queued = max_queued
        self._observe = observe
        self._queues: dict[Any, collections.deque[_Request]] = {}
        self._running = 0
        self._queued = 0

    async def run(self, signature: Signature, arrays: Columns, rows: int) -> dict[str, np.ndarray]:
        """Return the outputs of a checked request.

        Args:
            signature: a signature of this version.
            arrays: its inputs.
            rows: its batch size.

        Raises:
            ServingError: if the run fails, or UNAVAILABLE if too many requests wait.
        """
        if self._queued >= self._max_queued:
            raise ServingError("UNAVAILABLE", "too many requests wait. Try again later.")
        request = _Request(arrays, rows, asyncio.get_running_loop().create_future())
        # Requests that cannot run together have separate queues.
        key = (signature.name, signature.shapes(arrays) if signature.batchable else id(request))
        self._queues.setdefault(key, collections.deque()).append(request)
        self._queued += 1
        self._start(signature.name)
        outputs: dict[str, np.ndarray] = await request.future
        return outputs

    def _start(self, *_: Any) -> None:
        while self._running < self._threads and (batch := self._next()):
            key, requests = batch
            self._running += 1
            task = asyncio.ensure_future(self._execute(self._loaded.signatures[key[0]], requests))
            task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._running -= 1
        self._start()

    def _next(self) -> tuple[Any, list[_Request]] | None:
        """Take the next batch: the requests of the queue whose first has waited longest."""
        while self._queues:
            key = min(self._queues, key=lambda k: self._queues[k][0].queued)
            queue = self._queues[key]
            requests: list[_Request] = []
            rows = 0
            while queue and (not requests or rows + queue[0].rows <= self._max_rows):
                request = queue.popleft()
                self._queued -= 1
                if not request.future.done():  # its client no longer waits
                    requests.append(request)
                    rows += request.rows
            if not queue:
                del self._queues[key]
            if requests:
                return key, requests
        return None

    async def _execute(self, signature: Signature, requests: list[_Request]) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        try:
            answers = await loop.run_in_executor(self._executor, self._answer, signature, requests)
        except Exception as error:  # any error must reach the waiting requests
            answers = [ServingError("INTERNAL", f"{type(error).__name__}: {error}")] * len(requests)
        seconds = time.perf_counter() - started
        for request, answer in zip(requests, answers, strict=True):
            self._observe(started - request.queued, seconds)
            if request.future.done():
                continue
            if isinstance(answer, ServingError):
                request.future.set_exception(answer)
            else:
                request.future.set_result(answer)

    def _answer(
        self, signature: Signature, requests: list[_Request]
    ) -> list[dict[str, np.ndarray] | ServingError]:
        """Run a batch. Called in a worker thread."""
        rows = sum(request.rows for request in requests)
        try:
            outputs = self._loaded.run(
                signature, signature.concatenate([request.arrays for request in requests])
            )
        except ServingError as error:
            if len(requests) == 1:
                return [error]
            return self._one_by_one(signature, requests)  # find the faulty one
        if len(requests) == 1:
            return [outputs]
        if any(not array.ndim or len(array) != rows for array in outputs.values()):
            return self._one_by_one(signature, requests)
        answers: list[dict[str, np.ndarray] | ServingError] = []
        start = 0
        for request in requests:
            stop = start + request.rows
            answers.append({key: array[start:stop] for key, array in outputs.items()})
            start = stop
        return answers

    def _one_by_one(
        self, signature: Signature, requests: list[_Request]
    ) -> list[dict[str, np.ndarray] | ServingError]:
        return [answer for request in requests for answer in self._answer(signature, [request])]
