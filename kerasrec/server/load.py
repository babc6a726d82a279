"""Load generator for a server on this machine: requests per second and latencies."""

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
    """Result of `measure_load`. `str()` of it is one line.

    Attributes:
        clients: number of concurrent clients.
        seconds: from the first request to the last answer.
        started: seconds after the first request at which each answered one was sent, ascending.
        latencies: seconds until the answer arrived, for each of them.
        failed: an error message for each failed request.
    """

    clients: int
    seconds: float
    started: np.ndarray
    latencies: np.ndarray
    failed: tuple[str, ...]

    @property
    def requests_per_second(self) -> float:
        """Return the number of successful answers per second."""
        return len(self.latencies) / self.seconds

    def milliseconds(self, percent: float) -> float:
        """Return a percentile of the latencies of successful answers; NaN if there are none."""
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
    """Send requests to a server from several clients at once.

    Each client has its own connection and waits for its answer before it sends the next body. The
    clients are threads of this process. If they share cores with the server they slow it down, and
    beyond a few thousand requests per second they are the bottleneck.

    Args:
        url: address, `http://host:port/path`.
        bodies: bodies of POST requests, sent in turn.
        clients: number of concurrent clients.
        seconds: time during which new requests are sent.
        stop: event that ends the run early once it is set.

    Returns:
        The latencies and the failures: statuses other than 200, and broken connections.

    Raises:
        ValueError: if an argument is out of range, or no server listens at the address.

    Example:

        with background("served/mf") as server:
            body = pathlib.Path("served/mf/1/requests/recommend.json").read_bytes()
            print(measure_load(server.url, [body], clients=16))
    """
    address = urllib.parse.urlsplit(url)
    if address.scheme != "http" or not address.hostname:
        raise ValueError(f"measure_load: url must be http://host:port/path; received {url!r}.")
    if not bodies:
        raise ValueError("measure_load: bodies is empty. Pass at least one request body.")
    check_integer("measure_load", "clients", clients, 1)
    check_number("measure_load", "seconds", seconds, zero=False, numpy=True)
    host, port = address.hostname, address.port or 80
    first = http.client.HTTPConnection(host, port, timeout=30)
    try:
        first.connect()
    except OSError as error:
        raise ValueError(
            f"measure_load: no server answers at {url!r}: {error}. Start the server first."
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
