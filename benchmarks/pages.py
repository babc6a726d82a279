"""Benchmark pages, their stored results, and the conditions of the run.

Results lie in `benchmarks/results/<page>`: a JSON file for each round or seed, and `run.json` with
command, hardware, versions, commit, settings and the source that measured them. A page is rebuilt
from these files only, byte for byte. The source is a hash of the script and of the modules of
`benchmarks/` that it imports. `tests/benchmarks/test_pages.py` compares it with the current files.
"""

import argparse
import ast
import contextlib
import gc
import hashlib
import json
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import describing
import turns

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "benchmarks"
RESULTS = ROOT / "benchmarks" / "results"
RUN = "run.json"
# These modules measure nothing. Their effect on the results is verified by rebuilding the pages.
WRITING = {"describing", "pages", "turns"}
RENDERING = {"ABOUT", "PROTOCOL", "report", "page", "about"}
# Names and calls that the library has changed, with their form when pages were made. A new spelling
# of the same thing measures the same. Add one only with a test or a training made again that shows
# equal numbers, and take it out when the page is made again.
RENAMED: dict[str, str] = {
    "IdSequence": "Sequence",
    "TrainingDiagnostics": "Doctor",
    "ExactResume": "Resume",
    "SampledSoftmaxTrainer": "SampledSoftmax",
    "NextItemTrainer": "NextItem",
    "StepwiseTrainer": "EveryStep",
    "sampling_correction": "estimate_catalogue",
    "full_softmax_crossentropy": "catalogue_softmax",
    "gbce_loss": "binary_loss",
    "features['position']": "features['place']",
    # A trainer owns its loss: the same numbers, see tests/training/test_sampled_softmax.py.
    "data.without_labels(data.pointwise(train, schema, **batching))": (
        "data.pointwise(train, schema, **batching)"
    ),
    "BinaryCrossentropy(from_logits=True) if fitted is model else None": (
        "BinaryCrossentropy(from_logits=True)"
    ),
    "fitted.compile(optimizers.Adam(0.004), jit_compile": (
        "loss = keras.losses.BinaryCrossentropy(from_logits=True)\n    "
        "fitted.compile(optimizers.Adam(0.004), loss, jit_compile"
    ),
    "fitted.fit(data.without_labels(batches)": "fitted.fit(batches",
    # Of rating tables alone, which are to be made again.
    "optimizers.Adam(rate, clipnorm=settings.clipnorm), 'mse'": (
        "keras.optimizers.Adam(rate, clipnorm=settings.clipnorm), 'mse'"
    ),
    # Models that are computed came later, in a branch of their own.
    "k: int = 10\n    options: Mapping[str, Any] | None = None\n"
    "    solver: Mapping[str, Any] | None = None": "k: int = 10",
    "if settings.options is not None:\n"
    "        model = getattr(models, settings.kind)(schema, **settings.options)\n"
    "        if settings.solver is None:\n"
    "            model.adapt(train)\n"
    "        else:\n"
    "            epochs = settings.solver['epochs']\n"
    "            numbers = {n: v for n, v in settings.solver.items() if n != 'epochs'}\n"
    "            AlternatingLeastSquares(model, **numbers).fit(train, epochs=epochs)\n"
    "        return (model, {}, passed())\n"
    "    shared": "shared",
    # One ranking by one task: the same numbers, bit by bit.
    "k=settings.k, candidates=candidates).summary()": "k=settings.k, candidates=candidates)",
    "seen=[train, valid], k=k).summary()": "seen=[train, valid], k=k)",
    "evaluation.rank": "evaluation.ranking",
    "popular = rank": "popular = rank_queries",
    "ranked = rank": "ranked = rank_queries",
    "found = rank": "found = rank_queries",
    "{'auc': rank": "{'auc': rank_queries",
    "evaluation.rating_errors": "evaluation.pointwise",
    "RankingValidation(test, seen=train,": "RankingValidation(test, train,",
    "RankingValidation(held_out, seen=rows.train,": "RankingValidation(held_out, rows.train,",
}


def _as_text(value: Any) -> str:
    """Return JSON with a line for each entry, and lists of numbers in a line of their own."""
    text = json.dumps(value, indent=1)
    return re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)


def modules(script: pathlib.Path) -> list[pathlib.Path]:
    """List a script and the modules beside it that it imports, directly or indirectly."""
    found, left = {script}, [script]
    while left:
        for name in _imported(left.pop()):
            path = script.parent / f"{name}.py"
            if name not in WRITING and path.is_file() and path not in found:
                found.add(path)
                left.append(path)
    return sorted(found)


def _imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(_parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def _parsed(source: str) -> ast.Module:
    """Parse code while the garbage collector waits.

    Python 3.11 counts the depth of all trees being built in one place: a collection in the middle
    may hand over to another thread that parses too, and `ast.parse` then fails with "AST
    constructor recursion depth mismatch".
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collects:
            gc.enable()


def fingerprint(paths: Iterable[pathlib.Path], extra: str = "") -> str:
    """Hash the code that measures, without comments, docstrings, layout and rendering code."""
    digest = hashlib.sha256(extra.encode())
    for path in paths:
        digest.update(f"\n{path.name}\n{measuring(path.read_text(encoding='utf-8'))}".encode())
    return digest.hexdigest()[:12]


def measuring(source: str) -> str:
    """Return the code of a module that can change what is measured, under its first names.

    Imports are left out, since they say where a name lives and not what it does.
    """
    tree = _parsed(source)
    tree.body = [node for node in tree.body if not _names(node) & RENDERING]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        if body and isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            body = body[1:]
        node.body = [one for one in body if not isinstance(one, ast.Import | ast.ImportFrom)]
    code = ast.unparse(tree)
    for new, old in RENAMED.items():
        code = re.sub(rf"(?<!\w){re.escape(new)}(?!\w)", old, code)
    return code


def _names(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines at the top of a module."""
    targets = {getattr(target, "id", "") for target in getattr(node, "targets", [])}
    return {getattr(node, "name", ""), *targets}


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def add_options(parser: argparse.ArgumentParser, *, torch: bool = False) -> None:
    """Add the options shared by all benchmarks."""
    parser.add_argument("--page", action="store_true", help="remake the page, measure nothing")
    if torch:
        parser.add_argument("--torch-python", default=sys.executable, help="Python with PyTorch")


def whole(parser: argparse.ArgumentParser, arguments: argparse.Namespace, *free: str) -> bool:
    """Return whether the run is one for the page: all options but the free ones have defaults."""
    free = ("page", "torch_python", "cell", *free)
    return all(
        value == parser.get_default(name)
        for name, value in vars(arguments).items()
        if name not in free
    )


class Page:
    """Results of a benchmark, and the page that shows them.

    An interrupted run resumes as long as settings, source, commit, versions and hardware are the
    same. A completed one starts over.

    Args:
        name: name of the page and of the folder of its results.
        script: the file of the benchmark.
        settings: settings that decide the results; plain JSON values.
        packages: further packages whose versions are reported.
        torch_python: path of a Python with PyTorch, if it takes part.
        remake: whether to use the stored results and measure nothing.
        keep: whether the run is one for the page. Otherwise, results go to a temporary folder.
        source: hash of the measuring code; by default of the script and its imported modules.
    """

    def __init__(
        self,
        name: str,
        script: str,
        settings: dict[str, Any],
        *,
        packages: Sequence[str] = (),
        torch_python: str | None = None,
        remake: bool = False,
        keep: bool = True,
        source: str | None = None,
    ) -> None:
        self.name, self.remake, self.keep = name, remake, keep
        self._temporary = None if keep or remake else tempfile.TemporaryDirectory()
        self.folder = RESULTS / name
        if self._temporary:
            self.folder = pathlib.Path(self._temporary.name)
        if remake:
            if not (self.folder / RUN).is_file():
                raise SystemExit(f"There are no results in {self.folder}. Run without --page.")
            self.run = json.loads((self.folder / RUN).read_text(encoding="utf-8"))
            return
        self.run = {
            "command": describing.command(),
            "hardware": describing.machine(),
            "load": describing.load(),
            "versions": describing.versions(*packages, torch_python=torch_python),
            "commit": describing.commit(),
            "source": source or fingerprint(modules(pathlib.Path(script).resolve())),
            "settings": json.loads(json.dumps(settings)),
            "done": False,
        }
        self._begin()

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the results; the stored ones if the page is rebuilt."""
        return self.run["settings"]

    def _begin(self) -> None:
        """Resume an interrupted run with the same conditions, or start over."""
        path = self.folder / RUN
        if path.is_file():
            held = json.loads(path.read_text(encoding="utf-8"))
            same = ("hardware", "versions", "commit", "source", "settings", "done")
            if all(held[name] == self.run[name] for name in same):
                self.run = held
                return
            for old in self.folder.glob("*.json"):
                old.unlink()
        self._save()

    def _save(self) -> None:
        describing.write(self.folder / RUN, json.dumps(self.run, indent=1) + "\n")

    def result(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a stored result, or measure and store it."""
        path = self.folder / f"{name}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        if self.remake:
            raise SystemExit(f"There is no result {path}. Run without --page.")
        found = json.loads(json.dumps(make()))
        describing.write(path, _as_text(found) + "\n")
        return found

    def rounds(
        self, sides: Sequence[str], rounds: int, measure: Callable[[str, int], Any]
    ) -> dict[str, list[Any]]:
        """Measure all sides in turn in every round, with one file per round.

        Args:
            sides: names of the sides.
            rounds: number of rounds.
            measure: function of a side and the number of the round that returns the result.

        Returns:
            The results of the rounds by side.
        """
        found: dict[str, list[Any]] = {side: [] for side in sides}
        for number in range(rounds):

            def round_of(number: int = number) -> dict[str, Any]:
                made = {}
                for side in turns.order(sides, number):
                    made[side] = measure(side, number)
                    print(f"round {number}, {side}: {made[side]}", file=sys.stderr, flush=True)
                return made

            one = self.result(f"round{number}", round_of)
            for side in sides:
                found[side].append(one[side])
        return found

    def printed(self, run: Callable[[], int | None]) -> tuple[str, int]:
        """Return the output and exit code of a benchmark, from a stored run or by running it."""

        def make() -> dict[str, Any]:
            output = describing.Tee(sys.stdout)
            with contextlib.redirect_stdout(output):
                code = run() or 0
            return {"output": output.getvalue().splitlines(), "code": code}

        found = self.result("output", make)
        return "\n".join(found["output"]), found["code"]

    def made_at(self) -> str:
        """Return the commit, the state of the tree and the source."""
        return f"{self.run['commit']}; source {self.run['source']}"

    def head(self, *more: str) -> list[str]:
        """Return the first lines of a page whose output is plain text."""
        return [
            f"command   {self.run['command']}",
            f"hardware  {self.run['hardware']}; {self.run['load']}",
            f"versions  {self.run['versions']}",
            f"commit    {self.made_at()}",
            *more,
            "",
        ]

    def bullets(self) -> str:
        """Return the run description as a Markdown list.

        `again` in `run.json` has the command and the commit of a side that was measured again on
        the same hardware, by the same source, after a change that concerned it alone.
        """
        later = self.run.get("again", {})
        return "\n".join(
            [
                f"- Command: `{self.run['command']}`",
                f"- Hardware: {self.run['hardware']}; {self.run['load']}",
                f"- Versions: {self.run['versions']}",
                f"- Commit: {self.made_at()}",
                *(f"- Measured again: {side}, {how}" for side, how in later.items()),
            ]
        )

    def write(self, text: str) -> None:
        """Print the page, and write it if the run is one for it."""
        print(text)
        path = DOCS / f"{self.name}.md"
        if self._temporary:
            self._temporary.cleanup()
            print("No page is written: that takes a run with the default options.")
            return
        describing.write(path, text)
        if not self.remake:
            self.run["done"] = True
            self._save()
        print(f"Wrote {os.path.relpath(path, ROOT)}")
