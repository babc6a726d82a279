import concurrent.futures
import gzip
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from kerasrec.datasets import cache_dir
from kerasrec.datasets.storage import find_file, folders, install, read_fields, read_lines


def test_cache_dir_follows_the_environment(monkeypatch):
    monkeypatch.delenv("KERASREC_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    assert cache_dir() == pathlib.Path("/home/ann/.cache/kerasrec")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_dir() == pathlib.Path("/fast/kerasrec")
    monkeypatch.setenv("KERASREC_CACHE", "~/own")
    assert cache_dir() == pathlib.Path("/home/ann/own")


def test_own_folder_comes_before_the_cache(monkeypatch, cache):
    assert folders("x") == [cache / "x"]
    monkeypatch.setenv("KERASREC_DATA", "/data")
    assert folders("x") == [pathlib.Path("/data/x"), cache / "x"]


def test_files_plain_and_gzipped(tmp_path):
    assert find_file(tmp_path, "a") is None
    (tmp_path / "a.gz").write_bytes(gzip.compress("é::1\n\nb::2\n".encode("latin-1")))
    path = find_file(tmp_path, "a")
    assert read_lines(path, encoding="latin-1") == ["é::1", "b::2"]
    fields = read_fields(path, separator="::", fields=2, encoding="latin-1")
    assert fields == [["é", "1"], ["b", "2"]]
    (tmp_path / "a").write_text("plain")
    assert find_file(tmp_path, "a") == tmp_path / "a"


def test_damaged_files(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(ValueError, match="a.gz: expected utf-8 text.*Replace the file"):
        read_lines(path, encoding="utf-8")
    (tmp_path / "b").write_text("1::2\n1::2::3\n")
    with pytest.raises(ValueError, match="expected 2 fields between '::'; received 3 in line 2"):
        read_fields(tmp_path / "b", separator="::", fields=2, encoding="utf-8")


def test_install_is_readable_and_leaves_nothing_else(cache):
    folder = install("some", {"a": b"1", "b": b"2"})
    assert folder == cache / "some"
    assert sorted(path.name for path in cache.rglob("*")) == ["a", "b", "some"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_the_first_of_many_wins(cache):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        contents = [{"a": b"%d" % n, "b": b"%d" % n} for n in range(32)]
        assert set(pool.map(lambda files: install("some", files), contents)) == {cache / "some"}
    assert (cache / "some" / "a").read_bytes() == (cache / "some" / "b").read_bytes()
    assert os.listdir(cache) == ["some"]


def test_an_empty_folder_is_filled_and_another_is_kept(cache):
    (cache / "some").mkdir(parents=True)
    install("some", {"a": b"1"})
    with pytest.raises(ValueError, match=r"lacks \['b'\]. Remove that folder"):
        install("some", {"b": b"1"})
    assert os.listdir(cache / "some") == ["a"]


def test_killed_while_writing(cache):
    code = """
        import os, pathlib, signal
        from kerasrec.datasets.storage import install
        write = pathlib.Path.write_bytes
        def write_and_die(path, content):
            write(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        pathlib.Path.write_bytes = write_and_die
        install("some", {"a": b"12345678", "b": b"2"})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (cache / "some").exists()
    assert (install("some", {"a": b"12345678"}) / "a").read_bytes() == b"12345678"


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KERASREC_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="cannot write the data set 'some'.*KERASREC_CACHE"):
        install("some", {"a": b"1"})


def test_a_full_disk_leaves_nothing(cache, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(ValueError, match="No space left on device.*Free space"):
        install("some", {"a": b"1"})
    assert os.listdir(cache) == []
