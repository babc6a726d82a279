import itertools
import json
import threading
import types

import numpy as np
import pytest

from kerasrec.serving.server import load_test, measure_load
from kerasrec.serving.server.load_test import LoadReport

BODIES = [json.dumps({"instances": [float(x)]}).encode() for x in range(3)]


@pytest.fixture
def ticking(monkeypatch):
    """A clock that moves on by a second whenever somebody looks at it."""
    clock = types.SimpleNamespace(perf_counter=itertools.count(1.0).__next__)
    monkeypatch.setattr(load_test, "time", clock)


def test_all_clients_are_answered(hand_made, serving, ticking):
    """Each request takes two looks: 40 seconds are enough for 18 requests at least."""
    with serving(hand_made) as client:
        url = f"http://127.0.0.1:{client.rest_port}/v1/models/half:predict"
        report = measure_load(url, BODIES, clients=3, seconds=40.0)
    assert not report.failed and 18 <= len(report.latencies) <= 21
    assert (report.latencies >= 1).all() and (np.diff(report.started) > 0).all()
    assert report.started[-1] < 40 <= report.seconds
    assert 0 < report.milliseconds(50) <= report.milliseconds(99)
    assert report.requests_per_second == len(report.latencies) / report.seconds


def test_refused_requests_are_counted_with_their_reason(hand_made, serving, ticking):
    with serving(hand_made) as client:
        url = f"http://127.0.0.1:{client.rest_port}/v1/models/half:predict"
        report = measure_load(url, [BODIES[0], b"nonsense"], clients=1, seconds=12.0)
    # The clock says 1 at the beginning; requests begin at 2, 4, ... 12, in turns.
    assert report.started.tolist() == [1.0, 5.0, 9.0] and report.latencies.tolist() == [1.0] * 3
    assert len(report.failed) == 3
    assert all(text.startswith("400: ") for text in report.failed)


def test_it_can_be_ended_earlier(hand_made, serving):
    stop = threading.Event()
    with serving(hand_made) as client:
        url = f"http://127.0.0.1:{client.rest_port}/v1/models/half:predict"
        threading.Timer(0.3, stop.set).start()
        report = measure_load(url, BODIES, clients=2, seconds=3600, stop=stop)
    assert not report.failed and report.seconds < 3600


def test_the_line():
    report = LoadReport(2, 4.0, np.arange(4.0), np.array([1.0, 2.0, 3.0, 4.0]) / 1e3, ("503: ",))
    assert str(report) == "2 clients: 1 requests/s, p50 2.5 ms, p99 4.0 ms, 1 of 5 failed"
    empty = LoadReport(1, 1.0, np.zeros(0), np.zeros(0), ())
    assert np.isnan(empty.milliseconds(50)) and empty.requests_per_second == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "localhost:8501"}, "url must be http://host:port/path; received 'localhost:8501'"),
        ({"url": "http://127.0.0.1:9/x"}, "no server answers at .*Start the server first"),
        ({"bodies": []}, "bodies is empty"),
        ({"clients": 0}, "clients must be an integer of at least 1; received 0"),
        ({"seconds": 0.0}, "seconds must be a finite number above 0; received 0.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        measure_load(**{"url": "http://127.0.0.1:9/x", "bodies": BODIES, **arguments})
