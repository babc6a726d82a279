import os
import signal
import subprocess
import sys

import pytest

from kerasrec import _files as files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.new_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == path.parent
        temporary.write_text("all of it")
    assert path.read_text() == "all of it" and names(path.parent) == ["a.txt"]


def test_the_old_file_stays_if_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.new_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_file_has_the_rights_of_any_other(tmp_path):
    (tmp_path / "plain").touch()
    with files.new_file(tmp_path / "ours") as temporary:
        temporary.touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_content_is_flushed_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}").rsplit(".", 1)[-1])
        fsync(descriptor)

    def replaced(old, new):
        done.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    with files.new_file(tmp_path / "a.txt") as temporary:
        temporary.touch()
    assert done == ["partial", "rename", str(tmp_path).rsplit(".", 1)[-1]]


def test_a_folder_appears_whole_and_the_first_wins(tmp_path):
    path = tmp_path / "deep" / "folder"
    with files.new_folder(path) as temporary:
        (temporary / "inside").mkdir()
        (temporary / "inside" / "a").write_text("1")
        assert not path.exists()
    assert (path / "inside" / "a").read_text() == "1" and names(path.parent) == ["folder"]
    with pytest.raises(FileExistsError, match="folder"), files.new_folder(path) as temporary:
        (temporary / "b").touch()
    assert names(path) == ["inside"] and names(path.parent) == ["folder"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="full"), files.new_folder(tmp_path / "a") as temporary:
        (temporary / "b").touch()
        raise OSError("full")
    assert names(tmp_path) == []


def test_an_empty_folder_is_taken_and_other_errors_stay_what_they_are(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").touch()
    (tmp_path / "empty").mkdir()
    files.rename_new(tmp_path / "new", tmp_path / "empty")
    assert names(tmp_path / "empty") == ["a"]
    with pytest.raises(FileNotFoundError):
        files.rename_new(tmp_path / "none", tmp_path / "b")


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from kerasrec._files import new_file\n"
        "with new_file(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL and path.read_text() == "old"
    assert all(name == "a.txt" or name.startswith(".a.txt.") for name in names(tmp_path))
