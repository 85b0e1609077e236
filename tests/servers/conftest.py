"""Dovecot and Postfix for the tests of this folder, started once."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mail_servers import RealServers


@pytest.fixture(scope="session")
def _real_servers(mail_servers: ModuleType) -> Iterator[RealServers]:
    missing = mail_servers.what_is_missing()
    if missing:
        pytest.skip(f"{missing}; `nox -s tests` as root on Debian does it")
    with mail_servers.running() as servers:
        yield servers


@pytest.fixture
def servers(_real_servers: RealServers) -> RealServers:
    """Return the servers, with nothing in any mailbox."""
    _real_servers.empty()
    return _real_servers
