"""Measures the scores of a served model: TensorFlow Serving has no metric of its answers.

Asks for recommendations for a sample of users again and again, and exports the best score of each
as the histogram `kerasrec_score`, which `kerasrec serve` exports by itself. A model without items
is asked for the predictions of its recorded rows.

    python probe.py --url http://serving:8501 --model MODEL [--users users.txt] [--port 9100]

The users are those of `--users`, one id a line, or of the newest version under --versions.
"""

import argparse
import bisect
import http.server
import json
import pathlib
import random
import threading
import time

from client import RestClient, ServingError

BUCKETS = sorted([0.0, *(sign * 2.0**step for sign in (-1, 1) for step in range(-4, 8))])
BATCH = 32


class Scores:
    """A histogram of scores, and the counts of what went wrong."""

    def __init__(self, model):
        self.model, self.lock = model, threading.Lock()
        self.counts, self.sum, self.errors = [0] * (len(BUCKETS) + 1), 0.0, 0

    def observe(self, scores):
        with self.lock:
            for score in scores:
                self.counts[bisect.bisect_left(BUCKETS, score)] += 1
                self.sum += score

    def page(self):
        name, label = "kerasrec_score", f'model_name="{self.model}"'
        with self.lock:
            lines, total = [f"# TYPE {name} histogram"], 0
            for edge, count in zip([*BUCKETS, "+Inf"], self.counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{{label},le="{edge}"}} {total}')
            lines += [f"{name}_sum{{{label}}} {self.sum}", f"{name}_count{{{label}}} {total}"]
            lines += ["# TYPE kerasrec_probe_errors_total counter"]
            lines += [f"kerasrec_probe_errors_total{{{label}}} {self.errors}"]
        return "\n".join(lines) + "\n"


def example(versions):
    """Signature of the newest version, its inputs to fill users into, and the input of the user."""
    newest = max((p for p in versions.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
    files = [newest / "requests" / f"{name}.json" for name in ("recommend", "predict")]
    body = json.loads(next(file for file in files if file.is_file()).read_text("utf-8"))
    schema = json.loads((newest / "schema.json").read_text("utf-8"))
    return body["signature_name"], body["inputs"], user_name(schema, body["inputs"])


def user_name(schema, inputs):
    """The input that holds the user's id, if the signature has one."""
    for feature in schema["user"]:
        if feature["name"] in inputs and "num_ids" in feature and "max_length" not in feature:
            return feature["name"]
    return None


def ask(client, signature, inputs, user, users, scores):
    """One batch of users."""
    if user is not None and users:
        ids = random.sample(users, min(BATCH, len(users)))
        rows = {name: [value[0]] * len(ids) for name, value in inputs.items()}
        inputs = {**rows, user: ids}
        if "exclude" in inputs:
            inputs["exclude"] = [[]] * len(ids)
    try:
        outputs = client.predict(inputs, signature=signature)
    except ServingError:
        scores.errors += 1
        return
    # A single output has no name in REST.
    found = outputs["score"] if "score" in outputs else outputs["output"]
    best = [row[0] if isinstance(row, list) else row for row in found]
    counts = outputs.get("count", [1] * len(best))
    scores.observe([score for score, n in zip(best, counts, strict=True) if n])


def serve(scores, port):
    """The page that Prometheus reads, in a thread."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = scores.page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8501")
    parser.add_argument("--model", default="@MODEL@")
    parser.add_argument("--versions", default="/versions", type=pathlib.Path)
    parser.add_argument("--users", type=pathlib.Path)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--seconds", type=float, default=15.0, help="from one batch to the next")
    options = parser.parse_args()
    scores = Scores(options.model)
    serve(scores, options.port)
    client = RestClient(options.url, options.model)
    while True:
        signature, inputs, user = example(options.versions)
        users = []
        if options.users is not None:
            users = options.users.read_text("utf-8").splitlines()
            if user is not None and isinstance(inputs[user][0], int):
                users = [int(text) for text in users]
        ask(client, signature, inputs, user, users, scores)
        time.sleep(options.seconds)


if __name__ == "__main__":
    main()
