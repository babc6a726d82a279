"""Version directories: numbers, atomicity, leftovers, concurrent and killed exports."""

import errno
import multiprocessing
import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from kerasrec.serving.versions import find_version, list_versions, rollback, write_version


def fill(folder, size=1):
    (folder / "saved_model.pb").write_bytes(b"x" * size)
    (folder / "variables").mkdir()
    (folder / "variables" / "data").write_bytes(b"y" * size)


def leftovers(base):
    return sorted(path.name for path in base.glob(".export-*"))


def test_the_next_version_is_the_highest_plus_one(tmp_path):
    base = tmp_path / "a" / "model"
    assert [write_version(base, None, fill).name for _ in range(2)] == ["1", "2"]
    assert write_version(base, 10, fill) == base / "10"
    assert write_version(base, None, fill) == base / "11"
    assert write_version(base, 0, fill) == base / "0"
    assert list_versions(base) == [0, 1, 2, 10, 11]
    assert find_version(base) == base / "11"
    assert find_version(base / "2") == base / "2"
    assert leftovers(base) == []


def test_names_that_are_no_numbers_are_no_versions(tmp_path):
    for name in ("1", "007", "-3", "1.5", "x9", ".export-q", "٣", "1_0", "+4"):
        (tmp_path / name).mkdir()
    (tmp_path / "99").touch()  # a file
    assert list_versions(tmp_path) == [1, 7]
    assert list_versions(tmp_path / "missing") == []


def test_everything_but_numbers_is_hidden_from_the_scan_of_tensorflow_serving(tmp_path):
    seen = []

    def write(folder):
        fill(folder)
        seen.extend(path.name for path in tmp_path.iterdir())

    write_version(tmp_path, 3, write)
    assert seen and all(name.startswith(".export") for name in seen)


def test_an_existing_version_is_never_overwritten(tmp_path):
    write_version(tmp_path, 2, fill)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"version 2 exists .* which holds \[2\].* version=None"):
        write_version(tmp_path, 2, lambda folder: pytest.fail("written"))
    (tmp_path / "03").mkdir()
    with pytest.raises(ValueError, match="version 3 exists"):
        write_version(tmp_path, 3, fill)
    (tmp_path / "03").rmdir()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_version_that_appears_meanwhile_is_not_overwritten(tmp_path):
    def slow(folder):
        fill(folder)
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / "theirs").touch()

    write_version(tmp_path, 1, fill)
    with pytest.raises(ValueError, match="version 2 exists"):
        write_version(tmp_path, 2, slow)
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["theirs"]
    assert leftovers(tmp_path) == []


def test_two_exports_that_choose_the_same_number_both_arrive(tmp_path):
    def slow(folder):
        fill(folder)
        write_version(tmp_path, None, fill)

    assert write_version(tmp_path, None, slow) == tmp_path / "2"
    assert list_versions(tmp_path) == [1, 2]


@pytest.mark.parametrize("version", [-1, True, 1.0, "3", 2**63])
def test_a_version_is_a_number(tmp_path, version):
    with pytest.raises(ValueError, match="from 0 to 9223372036854775807"):
        write_version(tmp_path, version, fill)


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(ValueError, match="expected a directory; .* is a file"):
        write_version(tmp_path / "f", None, fill)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(tmp_path, error):
    def broken(folder):
        fill(folder)
        raise error

    write_version(tmp_path, None, fill)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(type(error)):
        write_version(tmp_path, None, broken)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_refuses_at_the_end_leaves_nothing(tmp_path, monkeypatch, call):
    def refuse(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space"):
        write_version(tmp_path, None, fill)
    assert list_versions(tmp_path) == [] and leftovers(tmp_path) == []


def test_leftovers_go_at_the_next_export_and_living_exports_stay(tmp_path):
    (tmp_path / ".export-dead").mkdir()
    (tmp_path / ".export-dead" / "big").touch()
    during = []

    def outer(folder):
        assert leftovers(tmp_path) == [folder.parent.name]  # the dead one is gone
        (tmp_path / ".export-dead2").mkdir()
        write_version(tmp_path, None, fill)
        during.append(leftovers(tmp_path))
        fill(folder)

    write_version(tmp_path, None, outer)
    # While the outer export lived, the inner one removed nothing.
    assert len(during[0]) == 2
    write_version(tmp_path, None, fill)
    assert leftovers(tmp_path) == []


def test_find_version_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="is not a directory. Write one with"):
        find_version(tmp_path / "missing")
    with pytest.raises(ValueError, match="expected numbered versions"):
        find_version(tmp_path)
    (tmp_path / "4").mkdir()
    with pytest.raises(ValueError, match="holds no saved_model.pb"):
        find_version(tmp_path)


def test_a_version_is_readable_for_others(tmp_path):
    mask = os.umask(0o022)
    try:
        path = write_version(tmp_path, None, fill)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o755


WRITER = textwrap.dedent(
    """
    import pathlib, sys
    from kerasrec.serving.versions import write_version

    def fill(folder):
        for number in range(30):
            (folder / f"part{number}").write_bytes(b"x" * 5000)
        (folder / "saved_model.pb").write_bytes(b"whole")

    while True:
        write_version(sys.argv[1], None, fill)
        print("wrote", flush=True)
    """
)


def test_kill_9_at_any_moment_leaves_only_whole_versions(tmp_path):
    rng = random.Random(0)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        versions = list_versions(tmp_path)
        assert versions == list(range(1, len(versions) + 1)) and versions
        for version in versions:
            assert len(list((tmp_path / str(version)).iterdir())) == 31
    write_version(tmp_path, None, fill)
    assert leftovers(tmp_path) == []


def _write_many(base):
    for _ in range(10):
        write_version(pathlib.Path(base), None, fill)


def test_concurrent_processes_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(str(tmp_path),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert list_versions(tmp_path) == list(range(1, 21))
    assert all((tmp_path / str(n) / "variables" / "data").is_file() for n in range(1, 21))
    assert leftovers(tmp_path) == []


def test_old_versions_go_only_when_the_new_one_is_there(tmp_path):
    for _ in range(4):
        write_version(tmp_path, None, fill)

    def broken(folder):
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        write_version(tmp_path, None, broken, keep=1)
    assert list_versions(tmp_path) == [1, 2, 3, 4]
    write_version(tmp_path, None, fill, keep=2)
    assert list_versions(tmp_path) == [3, 4, 5]
    # What was just written stays, whatever its number.
    write_version(tmp_path, 0, fill, keep=1)
    assert list_versions(tmp_path) == [0, 5]
    assert leftovers(tmp_path) == []
    for keep in (0, True, 1.5):
        with pytest.raises(ValueError, match="keep must be an integer of at least 1"):
            write_version(tmp_path, None, fill, keep=keep)


def test_rollback_withdraws_what_is_newer_and_loses_nothing(tmp_path, monkeypatch):
    for _ in range(4):
        write_version(tmp_path, None, fill)
    newest = []
    rename = os.rename

    def watched(source, target):
        newest.append(max(list_versions(tmp_path)))
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    assert rollback(tmp_path, to=2) == tmp_path / "2"
    # The newest goes last: 3 was never the newest.
    assert newest == [4, 4]
    assert list_versions(tmp_path) == [1, 2]
    # A number that was given once is not given again.
    assert write_version(tmp_path, None, fill).name == "5"
    assert rollback(tmp_path, to=3) == tmp_path / "3"
    assert list_versions(tmp_path) == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.glob(".withdrawn-*")) == [
        ".withdrawn-4",
        ".withdrawn-5",
    ]
    assert rollback(tmp_path) == tmp_path / "2"
    with pytest.raises(ValueError, match=r"\[1, 2\] and the withdrawn ones \[3, 4, 5\].* 7"):
        rollback(tmp_path, to=7)
    rollback(tmp_path)
    with pytest.raises(ValueError, match="there is none to go back to"):
        rollback(tmp_path)
