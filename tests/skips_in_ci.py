"""A plugin of pytest: on a build machine, a test that is skipped fails, unless it is listed here.

`conftest.py` takes it where `CI` is set. Without it a machine that lacks a browser, say, would
report success for a page that nobody looked at.
"""

import os

import pytest

# Beginning of the name of a test, or of a file: why it may be skipped.
ALLOWED = {
    "tests/datasets/test_movielens.py": "downloads a wheel; the index of packages may be away",
    "tests/training/test_memory.py": "malloc of glibc, which is there on Linux alone",
}


def allowed(name, reason):
    """Whether a test may be skipped for that reason."""
    if any(name.startswith(one) for one in ALLOWED):
        return True
    # Nobody has all data sets: tests on real data run where a folder of them is named.
    if "KERASREC_DATA" in reason and "KERASREC_DATA" not in os.environ:
        return True
    # What the build script could not install, and said so.
    return any(program in reason for program in os.environ.get("KERASREC_MAY_LACK", "").split())


def _judge(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not allowed(report.nodeid, reason):
            report.outcome = "failed"
            report.longrepr = (
                f"{report.nodeid} was skipped on a build machine: {reason}\nInstall what it needs "
                "in .ci/run, or list it with the reason in tests/skips_in_ci.py."
            )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fails tests that are skipped."""
    return _judge((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Fails files that are skipped as a whole."""
    return _judge((yield))
