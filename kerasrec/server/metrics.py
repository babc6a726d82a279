"""Prometheus metrics, named as in TensorFlow Serving, and one of kerasrec.

:tensorflow:serving:request_count                      model_name, status
:tensorflow:serving:request_latency                    model_name, API, entrypoint; microseconds
:tensorflow:serving:runtime_latency                    model_name, API, runtime; microseconds
:tensorflow:serving:batching_session:queuing_latency   thread_pool_name; microseconds
kerasrec_score                                         model_name: scores that were answered
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import prometheus_client
from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

PATH = "/monitoring/prometheus/metrics"
_LATENCY = [10 * 1.8**step for step in range(33)]
_QUEUING = [100 * 1.2**step for step in range(52)]
_SCORES = [0.0, *(sign * 2.0**step for sign in (-1, 1) for step in range(-4, 8))]


class Metrics:
    """Metrics of one model.

    Args:
        model_name: its name.
    """

    def __init__(self, model_name: str) -> None:
        self._name = model_name
        self._registry = CollectorRegistry()
        self._requests = _Counts(
            ":tensorflow:serving:request_count", "The total number of requests."
        )
        self._registry.register(self._requests)

        def histogram(
            name: str, text: str, labels: list[str], buckets: list[float]
        ) -> prometheus_client.Histogram:
            return prometheus_client.Histogram(
                name, text, labels, buckets=buckets, registry=self._registry
            )

        self._latency = histogram(
            ":tensorflow:serving:request_latency",
            "Wall time of a request in microseconds.",
            ["model_name", "API", "entrypoint"],
            _LATENCY,
        )
        self._runtime = histogram(
            ":tensorflow:serving:runtime_latency",
            "Wall time of TensorFlow for a request in microseconds.",
            ["model_name", "API", "runtime"],
            _LATENCY,
        ).labels(model_name, "Predict", "TF1")
        self._queuing = histogram(
            ":tensorflow:serving:batching_session:queuing_latency",
            "Wall time in the queue in microseconds.",
            ["thread_pool_name"],
            _QUEUING,
        ).labels("batch_threads")
        self._scores = histogram(
            "kerasrec_score", "Scores that were answered.", ["model_name"], sorted(_SCORES)
        ).labels(model_name)

    def request(self, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Count a finished request."""
        self._requests.counts[self._name, status] += 1
        self._latency.labels(self._name, api, entrypoint).observe(seconds * 1e6)

    def batch(self, waited: float, ran: float) -> None:
        """Record the seconds that a request spent in the queue and in TensorFlow."""
        self._queuing.observe(waited * 1e6)
        self._runtime.observe(ran * 1e6)

    def scores(self, values: np.ndarray) -> None:
        """Record the best score of each row, without empty slots."""
        best = values.reshape(len(values), -1)[:, :1].ravel().tolist() if values.size else []
        for value in best:
            if abs(value) < 1e30:
                self._scores.observe(value)

    def page(self) -> bytes:
        """Return the text of the Prometheus endpoint."""
        page: bytes = prometheus_client.generate_latest(self._registry)
        return page


class _Counts(Collector):
    """Counter that TensorFlow Serving names without `_total`."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self.counts: Counter[tuple[str, str]] = Counter()

    def collect(self) -> Iterable[Metric]:
        metric = Metric(self._name, self._text, "unknown")
        for (model_name, status), count in self.counts.items():
            metric.add_sample(self._name, {"model_name": model_name, "status": status}, count)
        yield metric
