"""Load on a server from this machine: requests per second and latencies."""

import dataclasses
import http.client
import itertools
import threading
import time
import urllib.parse
from collections.abc import Sequence

import numpy as np

from kerasrec._checks import check_integer, check_number


@dataclasses.dataclass(frozen=True, eq=False)
class LoadReport:
    """What `measure_load` found; `str` of it is one line.

    Attributes:
        clients: how many asked at the same time.
        seconds: from the first request to the last answer.
        started: seconds after the first request at which each answered one was sent, ascending.
        latencies: seconds until its answer was there.
        failed: what went wrong, a text for each request without a good answer.
    """

    clients: int
    seconds: float
    started: np.ndarray
    latencies: np.ndarray
    failed: tuple[str, ...]

    @property
    def requests_per_second(self) -> float:
        """Good answers by the time they took."""
        return len(self.latencies) / self.seconds

    def milliseconds(self, percent: float) -> float:
        """The latency that so many percent of the good answers do not exceed; NaN without one."""
        if not len(self.latencies):
            return float("nan")
        return float(np.percentile(self.latencies, percent) * 1e3)

    def __str__(self) -> str:
        return (
            f"{self.clients} clients: {self.requests_per_second:.0f} requests/s, "
            f"p50 {self.milliseconds(50):.1f} ms, p99 {self.milliseconds(99):.1f} ms, "
            f"{len(self.failed)} of {len(self.failed) + len(self.latencies)} failed"
        )


def measure_load(
    url: str,
    bodies: Sequence[bytes],
    *,
    clients: int = 8,
    seconds: float = 5.0,
    stop: threading.Event | None = None,
) -> LoadReport:
    """Asks a server by several clients at once, each the next body as soon as it has an answer.

    Each client has a connection of its own and waits for its answer before it asks again. The
    clients are threads of this process: where they share cores with the server, they slow it down,
    and beyond some thousand requests a second they are what is measured.

    Args:
        url: where to, `http://host:port/path`.
        bodies: bodies of POST requests, asked in turn.
        clients: how many ask at the same time.
        seconds: how long new requests are sent.
        stop: ends it earlier, once it is set.

    Returns:
        The latencies, and what failed: other statuses than 200, and broken connections.

    Raises:
        ValueError: if an argument is out of range, or nobody listens at the address.

    Example:

        with background("served/mf") as server:
            body = pathlib.Path("served/mf/1/requests/recommend.json").read_bytes()
            print(measure_load(server.url, [body], clients=16))
    """
    address = urllib.parse.urlsplit(url)
    if address.scheme != "http" or not address.hostname:
        raise ValueError(f"measure_load: url must be http://host:port/path; received {url!r}.")
    if not bodies:
        raise ValueError("measure_load: bodies is empty. Pass the body of one request at least.")
    check_integer("measure_load", "clients", clients, 1)
    check_number("measure_load", "seconds", seconds, zero=False, numpy=True)
    host, port = address.hostname, address.port or 80
    first = http.client.HTTPConnection(host, port, timeout=30)
    try:
        first.connect()
    except OSError as error:
        raise ValueError(
            f"measure_load: nobody answers at {url!r}: {error}. Start the server first."
        ) from error
    finally:
        first.close()
    found: list[list[tuple[float, float, str]]] = [[] for _ in range(clients)]
    begin = time.perf_counter()

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=30)
        for body in itertools.islice(itertools.cycle(bodies), number, None):
            start = time.perf_counter()
            if start >= begin + seconds or (stop is not None and stop.is_set()):
                break
            try:
                connection.request("POST", address.path, body)
                response = connection.getresponse()
                text = response.read()
                wrong = "" if response.status == 200 else f"{response.status}: {text[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                wrong = f"{type(error).__name__}: {error}"
                connection.close()
            found[number].append((start - begin, time.perf_counter() - start, wrong))
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    answers = sorted(itertools.chain.from_iterable(found))
    good = [(start, latency) for start, latency, wrong in answers if not wrong]
    times = np.array(good, np.float64).reshape(-1, 2)
    failed = tuple(wrong for _, _, wrong in answers if wrong)
    return LoadReport(clients, took, times[:, 0], times[:, 1], failed)
