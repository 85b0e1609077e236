"""A blocking connection that another thread may cut (floor 4)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Final

from typing_extensions import Buffer

LIMIT_BYTES: Final = 8 * 1024 * 1024
"""No line and no literal may be longer: the number of a literal comes from the other side."""

_CHUNK: Final = 64 * 1024


class Wire:
    """
    Bytes to and from a server, each wait bounded by a time-out.

    One thread talks, inside `in_use`; any thread may `cut`. The socket is shut down by the
    one who cuts, which wakes the thread that waits for it, and closed only once no thread
    uses it: its number could else be another file's by then.
    """

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._guard = Lock()
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._used = False
        self._is_cut = False

    @contextmanager
    def in_use(self) -> Generator[None, None, None]:
        """
        Use the wire in this thread.

        Raises:
            ConnectionError: It has been cut.
        """
        with self._guard:
            self._refuse_if_cut()
            self._used = True
        try:
            yield
        finally:
            with self._guard:
                self._used = False
                if self._is_cut:
                    self._close()

    def cut(self) -> None:
        """End the connection at once. Idempotent, from any thread; never blocks."""
        with self._guard:
            self._is_cut = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not SSLSocket's own: it would take TLS away from under a thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            if not self._used:
                self._close()

    def connect(self, hostname: str, port: int) -> None:
        """Connect; `OSError` if nobody answers."""
        self._adopt(socket.create_connection((hostname, port), self._timeout))

    def secure(self, context: ssl.SSLContext, hostname: str) -> None:
        """
        Begin TLS, and check that the certificate is for `hostname`.

        Raises:
            OSError: It did not come about, or bytes had come in ahead of it.

        Source: RFC 3501 section 6.2.1: nothing said in clear may count afterwards.
        """
        if self._received:
            raise ConnectionError("the server went on in clear after it had agreed to TLS")
        # Shaking hands only once `cut` can reach the socket.
        secured = context.wrap_socket(
            self._open_socket(), server_hostname=hostname, do_handshake_on_connect=False
        )
        self._adopt(secured)
        secured.do_handshake()

    def send(self, data: Buffer) -> None:
        """Send all of it."""
        self._open_socket().sendall(data)

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes; `ConnectionError` if the server hangs up before."""
        if size > LIMIT_BYTES:
            raise ConnectionError(f"the server announced {size} bytes at once")
        while len(self._received) < size:
            self._receive()
        return self._take(size)

    def read_line(self) -> bytes:
        """Return all up to the next line feed, with it."""
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > LIMIT_BYTES:
                raise ConnectionError("the server sent a line without an end")
            self._receive()
        return self._take(end + 1)

    def _receive(self) -> None:
        data = self._open_socket().recv(_CHUNK)
        if not data:
            raise ConnectionError("the server hung up")
        self._received += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        return self._socket

    def _adopt(self, connected: socket.socket) -> None:
        with self._guard:
            self._socket = connected
            self._refuse_if_cut()

    def _refuse_if_cut(self) -> None:
        if self._is_cut:
            raise ConnectionError("the connection was given up")

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
