"""The site as built: nothing from elsewhere, no link into the void, a place for every name."""

import doctest
import html.parser
import importlib
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import types
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).parents[2]


class Page(html.parser.HTMLParser):
    """Links, anchors and what the browser would load."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.loaded = [], set(), []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get("src"):
            self.loaded.append(found["src"])
        if tag == "link" and "stylesheet" in (found.get("rel") or ""):
            self.loaded.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_internal_link_has_a_page_and_an_anchor(pages, site):
    wrong = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
            target = path if not parts.path else target
            if target.is_dir():
                target = target / "index.html"
            anchor = urllib.parse.unquote(parts.fragment)
            if not target.is_file():
                wrong.append(f"{path.relative_to(site)}: {link}: no such page")
            elif target in pages and anchor and anchor not in pages[target].anchors:
                wrong.append(f"{path.relative_to(site)}: {link}: no such anchor")
    assert not wrong, "\n".join(wrong)
    assert sum(len(page.links) for page in pages.values()) > 1000


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(pages):
    loaded = {address for page in pages.values() for address in page.loaded}
    assert loaded
    assert not [address for address in loaded if urllib.parse.urlsplit(address).netloc]


@pytest.mark.slow
def test_every_public_name_is_in_the_reference_and_in_the_search(pages, site):
    index = json.loads((site / "search/search_index.json").read_text("utf-8"))
    searched = {entry["location"] for entry in index["docs"]}
    names = [path.parent.name for path in (ROOT / "kerasrec").glob("*/__init__.py")]
    for package in sorted({*names, "types", "serving.server"} - {"cli"}):
        module = importlib.import_module(f"kerasrec.{package}")
        page = pages[site / "api" / f"{package}.html"]
        for name in getattr(module, "__all__", ()):
            if isinstance(getattr(module, name), types.ModuleType):
                continue  # a room with a page of its own
            places = [a for a in page.anchors if a.startswith(f"kerasrec.{package}.")]
            places = [
                a for a in places if a.endswith(f".{name}") and a.rpartition(".")[0] in sys.modules
            ]
            assert len(places) == 1, name
            assert f"api/{package}.html#{places[0]}" in searched, name


@pytest.mark.slow
def test_the_help_of_every_command_is_there(site):
    from kerasrec.cli.app import COMMANDS
    from kerasrec.cli.model_flags import MODELS

    text = (site / "api/command_line.html").read_text("utf-8")
    for call in [*COMMANDS, *(f"fit {name}" for name in MODELS)]:
        assert f"usage: kerasrec {call} " in text


@pytest.mark.parametrize("name", ["docstrings", "pages"])
def test_the_examples_of_the_hooks(name):
    path = ROOT / "docs/site" / f"{name}.py"
    # A name of its own: doctest asks by name where a function comes from.
    spec = importlib.util.spec_from_file_location(f"hooks_of_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    failed, tried = doctest.testmod(module)
    assert tried and not failed


@pytest.mark.slow
def test_equations_are_mathml(site):
    text = (site / "guides/gradient_stability.html").read_text("utf-8")
    assert text.count("<math") >= 5
    assert "arithmatex" not in text


def test_every_benchmark_page_is_on_the_index():
    folder = ROOT / "docs" / "benchmarks"
    index = (folder / "index.md").read_text("utf-8")
    pages = {path.name for path in folder.glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\(([\w.-]+\.md)\)", index)) == pages


@pytest.mark.slow
def test_help_texts_are_not_cut(site):
    page = (site / "api" / "command_line.html").read_text("utf-8")
    inside = page.partition('<div class="commands"')[2].partition("</article>")[0]
    assert inside.count("<pre>") == page.count("<pre>") > 10
    style = (site / "stylesheets" / "site.css").read_text("utf-8")
    assert ".commands pre > code {\n  white-space: pre-wrap;" in style
