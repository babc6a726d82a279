"""Freed memory stays: counted in page faults, in a process whose malloc gives everything back."""

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, threading
from kerasrec.training.memory import keep_freed_memory

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
MIB = 1 << 20

def use(size):
    block = library.malloc(size)
    library.memset(block, 1, size)
    return block

def faults(size, repeats=20):
    # After a first time, for memory that was never used has to come from the system.
    library.free(use(size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repeats):
        library.free(use(size))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def in_a_thread(found):
    held = [use(10 * MIB) for _ in range(4)]
    # 40 of the 64 MiB of a heap are taken: the next block needs a heap of its own.
    found.append(faults(30 * MIB))
    for block in held:
        library.free(block)

def measure():
    found = [faults(2 * MIB)]
    thread = threading.Thread(target=in_a_thread, args=(found,))
    thread.start()
    thread.join()
    return found

# What `Dataset.from_generator` of TensorFlow does on Python 3.11 and later.
library.mallopt(-3, 128 << 10)
before, done, after = measure(), keep_freed_memory(), measure()
print(done, before, after)
assert done and min(before) > 20 * 256, (done, before)
assert max(after) < 256, after
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", **environment},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc, which is Linux")
def test_freed_blocks_are_used_again_without_a_page_fault():
    done = run(FAULTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_TOP_PAD_": "131072"},
        {"MALLOC_ARENA_MAX": "2"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
    ids=str,
)
def test_what_the_environment_says_about_malloc_counts_more(environment):
    code = "from kerasrec.training.memory import keep_freed_memory; print(keep_freed_memory())"
    done = run(code, **environment)
    assert done.stdout.strip() == "False", done.stdout + done.stderr


KEPT = """
import ctypes, threading
from kerasrec.training.memory import keep_freed_memory

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

def use():
    blocks = [library.malloc(10 << 20) for _ in range(10)]
    for block in blocks:
        library.memset(block, 1, 10 << 20)
    barrier.wait()
    for block in blocks:
        library.free(block)

keep_freed_memory()
barrier = threading.Barrier(4)
before = resident()
threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc, which is Linux")
def test_what_each_thread_freed_stays_as_the_docstring_says():
    done = run(KEPT)
    assert float(done.stdout) > 390, done.stdout + done.stderr  # of 400 MiB
