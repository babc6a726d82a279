"""Executes notebooks and writes them as pages of the docs, with their plots.

    python notebooks/render.py            # all, at full size: some minutes each
    python notebooks/render.py 02 05      # some

What a notebook writes besides goes to an empty folder that is removed again.
"""

import argparse
import io
import os
import pathlib
import re
import shutil
import tempfile

import nbclient
import nbformat
from nbconvert import MarkdownExporter
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
PAGES = FOLDER.parent / "docs" / "notebooks"
COLORS = 96
# What TensorFlow's libraries write when they are loaded, which obeys no setting.
START_UP = re.compile(r"^(WARNING: All log messages before absl|[IWE]\d{4} ).*\n?", re.M)


def notebooks() -> list[pathlib.Path]:
    """All notebooks, in order."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(path: pathlib.Path, folder: pathlib.Path, ending: str = "") -> nbformat.NotebookNode:
    """The notebook with its outputs.

    Args:
        path: a notebook.
        folder: where it runs.
        ending: code of one more cell.
    """
    notebook = nbformat.read(path, as_version=4)
    if ending:
        notebook.cells.append(nbformat.v4.new_code_cell(ending))
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=1200, resources=where).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output.text = START_UP.sub("", output.text)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]
    return notebook


def small_picture(data: bytes) -> bytes:
    """A PNG in fewer colours, which is enough for lines and bars."""
    with Image.open(io.BytesIO(data)) as picture:
        few = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    found = io.BytesIO()
    few.save(found, "PNG", optimize=True)
    return found.getvalue()


def without_gaps(page: str) -> str:
    """Keep one blank line of several outside of code: versions of nbconvert write other numbers."""
    parts = re.split(r"(^```.*?^```$)", page, flags=re.M | re.S)
    parts[::2] = [re.sub(r"\n{3,}", "\n\n", part) for part in parts[::2]]
    return "".join(parts)


def write(path: pathlib.Path, notebook: nbformat.NotebookNode) -> pathlib.Path:
    """Writes the page and its pictures, in place of older ones.

    Args:
        path: the notebook's file, which names the page.
        notebook: with outputs.
    """
    pictures = PAGES / f"{path.stem}_files"
    body, resources = MarkdownExporter().from_notebook_node(
        notebook, {"unique_key": path.stem, "output_files_dir": pictures.name}
    )
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    for name, data in resources["outputs"].items():
        (PAGES / name).write_bytes(small_picture(data))
    body = re.sub(r"^!\[png\]", "![What the cell above draws]", body, flags=re.M)
    body = without_gaps(re.sub(r"[ \t]+$", "", body, flags=re.M))
    page = PAGES / f"{path.stem}.md"
    page.write_text(body.strip() + "\n", "utf-8")
    return page


def main() -> None:
    """Renders what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[""], help="how their names begin; all if none")
    wanted = tuple(parser.parse_args().names)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for path in notebooks():
        if path.stem.startswith(wanted):
            with tempfile.TemporaryDirectory() as folder:
                page = write(path, execute(path, pathlib.Path(folder)))
            size = sum(file.stat().st_size for file in PAGES.glob(f"{path.stem}_files/*"))
            print(f"{page.relative_to(FOLDER.parent)}, pictures {size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
