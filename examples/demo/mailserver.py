"""
Real SMTP and IMAP servers for the demo, on free ports of the loopback interface.

aiosmtpd takes mail in and hands it to the IMAP server, pymap, which keeps one mailbox for each
user. A `+tag` in an address is ignored when the mailbox is chosen, as most mail servers do.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - aiosmtpd and pymap serve on asyncio
import os
from argparse import Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from aiosmtpd.smtp import SMTP
from anyio.from_thread import start_blocking_portal
from proxyprotocol.result import ProxyResultLocal
from proxyprotocol.sock import SocketInfo
from pymap.backend.dict import DictBackend
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxData, MailboxSet
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.user import Passwords, UserMetadata

if TYPE_CHECKING:
    from types import TracebackType

    from aiosmtpd.smtp import Envelope, Session

PASSWORD = "known to the demo only"  # noqa: S105 - it opens nothing else
USERS = ("approvals", "brand")


class MailServer:
    """Both servers, in a thread of their own, for as long as the `with` block lasts."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        """Start nothing yet."""
        self.smtp_port = 0
        self.imap_port = 0
        self._mailboxes: dict[str, MailboxData] = {}
        self._sessions: set[asyncio.Task[object]] = set()

    def __enter__(self) -> Self:
        """Start both servers."""
        self._thread = start_blocking_portal()
        self._portal = self._thread.__enter__()
        self._portal.call(self._start)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop both servers."""
        self._portal.call(self._stop)
        self._thread.__exit__(exc_type, exc_value, traceback)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Put a mail into the mailboxes of its recipients."""
        for address in envelope.rcpt_tos:
            user = address.partition("@")[0].partition("+")[0]
            if user not in self._mailboxes:
                return f"550 there is no {user} here"
            message = AppendMessage(
                envelope.original_content or b"", datetime.fromtimestamp(0, UTC), frozenset()
            )
            await self._mailboxes[user].append(message)
        return "250 taken"

    async def _start(self) -> None:
        backend, config = await DictBackend.init(_OPTIONS, secure_auth=False)
        for user in USERS:
            hashed = await Passwords(config).hash_password(PASSWORD)
            backend.login.users_dict[user] = UserMetadata(config, user, password=hashed)
            config.set_cache[user] = (MailboxSet(), FilterSet())
            self._mailboxes[user] = await config.set_cache[user][0].get_mailbox("INBOX")
        self._answer = IMAPServer(backend.login, config)
        self._imap = await asyncio.start_server(self._converse, self.host, 0)
        self.imap_port = self._imap.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        self._smtp = await loop.create_server(lambda: SMTP(self, loop=loop), self.host, 0)
        self.smtp_port = self._smtp.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._smtp.close()
        self._imap.close()
        for session in self._sessions:
            session.cancel()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio keeps only weak references to the tasks of its own making.
        task = asyncio.current_task()
        if task is None:
            return
        self._sessions.add(task)
        try:
            info = SocketInfo.get(writer, ProxyResultLocal(), unique_id=os.urandom(8))
            await self._answer(reader, writer, info)
        finally:
            self._sessions.discard(task)


_OPTIONS = Namespace(
    host=MailServer.host,
    port=0,
    debug=False,
    cert=None,
    key=None,
    tls=False,
    passlib_cfg=None,
    proxy_protocol=None,
    demo_data=False,
    demo_user=USERS[0],
    demo_password=PASSWORD,
)
