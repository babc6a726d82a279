import hashlib
import io
import pathlib
import subprocess
import zipfile

import pytest

from kerasrec.datasets.wheel import files_of_wheel


def wheel(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.fixture
def pip(monkeypatch):
    """Stands in for pip: "downloads" the given bytes, or fails with a message."""

    def answer(content=None, error=""):
        def run(command, **_):
            assert command[1:4] == ["-m", "pip", "download"]
            assert "--no-deps" in command
            if content is not None:
                folder = pathlib.Path(command[command.index("--dest") + 1])
                (folder / "some-1.0-py3-none-any.whl").write_bytes(content)
            return subprocess.CompletedProcess(command, bool(error), "", error)

        monkeypatch.setattr(subprocess, "run", run)

    return answer


def test_reads_the_members_of_a_checked_wheel(pip):
    content = wheel({"pkg/data/a.txt": "one", "pkg/code.py": "two"})
    pip(content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert files_of_wheel("some==1.0", sha256=sha256, members=["pkg/data/a.txt"]) == {
        "a.txt": b"one"
    }


def test_another_wheel_is_refused(pip):
    pip(wheel({"pkg/data/a.txt": "one"}))
    with pytest.raises(ValueError, match="some==1.0: expected a wheel with sha256 00; received"):
        files_of_wheel("some==1.0", sha256="00", members=["pkg/data/a.txt"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("ERROR: retrying\nERROR: no network", "ERROR: no network"),
        ("No module named pip", "No module named pip"),
    ],
)
def test_failures_say_why(pip, error, reason):
    pip(error=error)
    with pytest.raises(ValueError, match=f"could not download some==1.0 .*: {reason} .command: "):
        files_of_wheel("some==1.0", sha256="00", members=[])
