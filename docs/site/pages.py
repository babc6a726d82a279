"""What the site has beside its Markdown files: API pages, the command line, equations, the nav."""

import ast
import contextlib
import html
import io
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "kerasrec"
COMMAND_LINE = "cli"
COLUMNS = 76  # that a block of text shows between the menus without being cut
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def packages() -> list[str]:
    """Names of the packages and modules that have an API page.

    >>> "data" in packages() and "schema" in packages() and "cli" not in packages()
    True
    """
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders = {*rooms, "serving.server"}
    files = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_")]
    return sorted({*folders, *files} - {COMMAND_LINE})


def public_names(package: str) -> list[str]:
    """Dotted paths of what a package exports, by the module that holds it; of a module its own.

    >>> "kerasrec.data.tables.readers.read" in public_names("data")
    True
    """
    source = PACKAGE / package.replace(".", "/") / "__init__.py"
    if not source.is_file():
        return [f"kerasrec.{package}"]
    names: list[str] = []
    tree = ast.parse(source.read_text("utf-8"))
    tables = {ast.unparse(n.targets[0]): n.value for n in tree.body if isinstance(n, ast.Assign)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            exported = ast.literal_eval(tables.get(ast.unparse(node.value), node.value))
            names += [f"kerasrec.{package}.{m}.{name}" for m in exported for name in exported[m]]
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kerasrec."):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return sorted(names, key=lambda name: name.rpartition(".")[2].casefold())


def api_page(package: str) -> str:
    """Markdown of the API page of a package."""
    path = PACKAGE / package.replace(".", "/") / "__init__.py"
    if not path.is_file():
        path = PACKAGE / f"{package}.py"
    summary = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    title = f"# kerasrec.{package}\n\n"
    if path.stem != "__init__":  # the module's own docstring is shown with its members
        return f"{title}::: kerasrec.{package}\n    options:\n      show_root_heading: false\n"
    return f"{title}{summary}\n\n" + "\n".join(f"::: {name}\n" for name in public_names(package))


def command_line_page() -> str:
    """Markdown of the help of every command."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from kerasrec.cli.app import COMMANDS
    from kerasrec.cli.model_flags import MODELS

    os.environ["COLUMNS"] = str(COLUMNS + 2)  # of which argparse leaves two free
    calls: list[Sequence[str]] = [[], *([name] for name in COMMANDS)]
    calls += [["fit", name] for name in MODELS]
    # The style sheet breaks the lines of this block, which the page would cut off on the right.
    text = ['# Command line\n\nWhat `--help` says.\n\n<div class="commands" markdown>\n']
    for call in calls:
        text.append(f"\n## {' '.join(['kerasrec', *call])}\n\n```text\n{help_of(call)}\n```\n")
    return "".join([*text, "\n</div>\n"])


def help_of(call: Iterable[str]) -> str:
    """What a command prints after `--help`."""
    from kerasrec.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*call, "--help"])
    return printed.getvalue().strip()


def expanded(nav: list[Any], files: Files) -> list[Any]:
    """The nav with "folder/*" replaced by the pages of the folder that it does not name itself."""
    named = set(re.findall(r"[\w./-]+\.md", str(nav)))

    def pages_of(folder: str) -> list[str]:
        found = [file for file in files.documentation_pages() if file.src_uri not in named]
        found = [file for file in found if file.src_uri.startswith(folder)]
        found.sort(key=lambda file: (file.name != "index", file.src_uri))
        return [file.src_uri for file in found]

    def children(entry: Any) -> Iterable[Any]:
        if isinstance(entry, str):
            yield from pages_of(entry.removesuffix("*")) if entry.endswith("/*") else [entry]
            return
        ((title, value),) = entry.items()
        if isinstance(value, str) and not value.endswith("/*"):
            yield entry
            return
        inner = [value] if isinstance(value, str) else value
        if kept := [child for part in inner for child in children(part)]:
            yield {title: kept}

    return [kept for entry in nav for kept in children(entry)]


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages, and fills the nav in."""
    pages = {f"api/{name}.md": api_page(name) for name in packages()}
    pages["api/command_line.md"] = command_line_page()
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    config.nav = expanded(config.nav, files)
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Equations as MathML, which browsers show by themselves."""

    def formula(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        return convert(html.unescape(match[3]), display=display)

    return FORMULA.sub(formula, content)
