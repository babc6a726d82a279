"""Fills the deployment kit with the names of a model.

    python export/make_kit.py --model movies --versions /srv/movies --output kit

Writes the configurations of TensorFlow Serving, a compose file with the proxy, Prometheus and
Grafana, the files for Kubernetes, and a client. README.md, which is copied along, says how each is
used.
"""

import argparse
import pathlib
import re
import shutil
import sys

HERE = pathlib.Path(__file__).parent
TEMPLATES = HERE / "templates"
CONFIGS = ("models.config", "batching.config", "monitoring.config")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="name of the served model")
    parser.add_argument("--versions", required=True, help="folder of versions on the host")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="new folder")
    parser.add_argument("--image", default="tensorflow/serving:2.19.1")
    parser.add_argument("--cores", type=int, default=4, help="of each server")
    options = parser.parse_args()
    try:
        make_kit(
            options.output,
            options.model,
            options.versions,
            image=options.image,
            cores=options.cores,
        )
    except ValueError as error:
        sys.exit(f"make_kit: {error}")
    print(f"Written to {options.output}. Go on with {options.output / 'README.md'}.")


def make_kit(
    output: pathlib.Path, model: str, versions: str, *, image: str, cores: int
) -> pathlib.Path:
    """Writes the kit, whole or not at all.

    Args:
        output: the new folder.
        model: name of the served model.
        versions: folder of versions on the host.
        image: container image of TensorFlow Serving.
        cores: cores of each server.

    Raises:
        ValueError: if the folder exists, or a name cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", model):
        raise ValueError(
            f"--model must be made of ASCII letters, digits, '_', '-' and '.'; received {model!r}."
        )
    if re.search(r'["\n:]', versions):
        raise ValueError(f"--versions must hold no quote, colon or line break; {versions!r} does.")
    if cores < 1:
        raise ValueError(f"--cores must be at least 1; received {cores}.")
    if output.exists():
        raise ValueError(f"{str(output)!r} exists already. Choose another folder.")
    values = {
        "MODEL": model,
        # Names of Kubernetes are names of hosts.
        "NAME": re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "model",
        "VERSIONS": versions,
        "IMAGE": image,
        "CORES": str(cores),
        "SERVING": "serving",
    }
    for name in CONFIGS:
        text = fill((TEMPLATES / name).read_text("utf-8"), values)
        values[name] = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path in sorted(TEMPLATES.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            target = partial / path.relative_to(TEMPLATES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(fill(path.read_text("utf-8"), values), encoding="utf-8")
    shutil.copy(HERE / "README.md", partial)
    partial.rename(output)
    return output


def fill(text: str, values: dict[str, str]) -> str:
    """Replaces `@NAME@`."""
    return re.sub(r"@([A-Za-z.]+)@", lambda match: values[match[1]], text)


if __name__ == "__main__":
    main()
