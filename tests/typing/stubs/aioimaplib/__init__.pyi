# What Signoff uses of aioimaplib, which has no types of its own.

import asyncio
from typing import NamedTuple

NONAUTH: str
AUTH: str
SELECTED: str

class Response(NamedTuple):
    result: str
    lines: list[bytes | bytearray]

class Command:
    def __init__(
        self, name: str, tag: str, *args: str, prefix: str = ..., untagged_resp_name: str = ...
    ) -> None: ...
    @property
    def response(self) -> Response: ...
    async def wait(self) -> None: ...

class IMAP4ClientProtocol(asyncio.Protocol):
    state: str
    tagpre: str
    transport: asyncio.Transport | None
    pending_sync_command: Command | None
    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None: ...
    def send(self, line: str) -> None: ...
    async def execute(self, command: Command) -> Response: ...
    def idle_done(self) -> None: ...
    def new_tag(self) -> str: ...
