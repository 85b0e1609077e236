"""What every test shares: both event loops, no network, and the rule that CI skips nothing."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Generator

import hypothesis
import pytest

# Before any test imports a part of it, so that shipped tests say what differed.
pytest.register_assert_rewrite("signoff.testing")

hypothesis.settings.register_profile(
    "signoff",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # a busy machine is no failure
)
hypothesis.settings.load_profile("signoff")


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on both event loops; override it where a library knows only one."""
    backend: str = request.param
    return backend


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure when CI runs: what CI skips, nobody has seen pass."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    return report


def refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse every connection of this process that leaves the machine."""
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and not is_loopback(str(address[0])):
        message = f"a test connects to {address[0]}, but tests stay on loopback"
        raise RuntimeError(message)


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the one name that needs no server, is this machine."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


sys.addaudithook(refuse_the_network)
