"""The mail servers of the demo, real ones on loopback, and what stands in for a provider's checks."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo"


def load(name: str) -> ModuleType:
    """Import a script of the demo from its path."""
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run on asyncio: aiosmtplib knows nothing else."""
    return "asyncio"


@pytest.fixture(name="demo", scope="session")
def _demo() -> Path:
    """Return the folder of the demo."""
    return DEMO


@pytest.fixture(name="reviewer", scope="session")
def _reviewer() -> ModuleType:
    """Return the demo's reviewer, who knows mail and nothing of Signoff."""
    return load("reviewer")


@pytest.fixture(name="servers", scope="session")
def _servers() -> Iterator[Any]:
    """Yield SMTP and IMAP servers that stamp incoming mail as a provider's checks would."""
    mailserver = load("mailserver")

    class Stamping(mailserver.MailServer):  # type: ignore[misc,name-defined]  # loaded from its path
        """
        The demo's servers, as a mail provider's.

        Attributes:
            stamp: The headers that are put above those of each incoming mail.
            password: Of every mailbox.
        """

        stamp = b""
        password = mailserver.PASSWORD

        async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            envelope.original_content = self.stamp + envelope.original_content
            reply: str = await super().handle_DATA(server, session, envelope)
            return reply

    with Stamping() as servers:
        yield servers


@pytest.fixture(name="server")
def _server(servers: Any) -> Any:
    """Return the servers, stamping nothing; what other tests left in the mailboxes is old mail."""
    servers.stamp = b""
    return servers
