"""Data files from a wheel of the package index."""

import hashlib
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence


def files_of_wheel(requirement: str, *, sha256: str, members: Sequence[str]) -> dict[str, bytes]:
    """Download a wheel with pip, check it, and read some of its files without installing it.

    pip respects the user's network settings: indexes, mirrors and proxies.

    Args:
        requirement: name and exact version, such as `recbole==1.2.1`.
        sha256: hash of the wheel.
        members: paths inside the wheel.

    Returns:
        Content by file name (without the folders).

    Raises:
        ValueError: if the wheel cannot be downloaded, or has another hash.
    """
    with tempfile.TemporaryDirectory(prefix="kerasrec-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
        command += ["--retries", "2"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", folder]
        done = subprocess.run(
            [*command, requirement], capture_output=True, text=True, errors="replace", check=False
        )
        wheels = list(pathlib.Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            reason = (done.stderr.strip() or "pip gave no reason").splitlines()[-1]
            raise ValueError(
                f"could not download {requirement} with pip, which holds the data: {reason} "
                f"(command: {' '.join([*command[:-1], '.', requirement])})"
            )
        content = wheels[0].read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{requirement}: expected a wheel with sha256 {sha256}; received {found}. The download "
            "was damaged or replaced: try again, or use another package index."
        )
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        return {pathlib.PurePosixPath(name).name: wheel.read(name) for name in members}
