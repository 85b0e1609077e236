"""What goes over the line in IMAP, and the line itself."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from signoff.inboxes import syntax
from signoff.inboxes.wire import LIMIT_BYTES, Wire

# Names and days.


@pytest.mark.parametrize(
    ("name", "coded"),
    [
        ("INBOX", '"INBOX"'),
        ("Entwürfe", '"Entw&APw-rfe"'),
        ("~peter/mail/台北/日本語", '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'),
        ("A & B", '"A &- B"'),
        ("&&ü", '"&-&-&APw-"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\U0001f600", '"&2D3eAA-"'),
        ("a\r\nA1 DELETE b", '"a&AA0ACg-A1 DELETE b"'),
        ("\ud800", '"&2AA-"'),
    ],
)
def test_a_mailbox_name_is_quoted_and_in_modified_utf_7(name: str, coded: str) -> None:
    """As in the examples of RFC 3501; no name breaks out of its quotes."""
    assert syntax.mailbox_name(name) == coded


@given(st.text())
def test_no_mailbox_name_breaks_out_of_its_quotes(name: str) -> None:
    """What a server reads is one string of printable ASCII, and another name for each name."""
    coded = syntax.mailbox_name(name)

    assert all(" " <= character <= "~" for character in coded)
    inside = coded[1:-1].replace("\\\\", "").replace('\\"', "")
    assert (coded[0], coded[-1]) == ('"', '"')
    assert '"' not in inside
    assert "\\" not in inside
    if name.isascii() and name.isprintable():
        assert coded == syntax.quoted(name.replace("&", "&-"))


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (date(2026, 1, 2), "02-Jan-2026"),
        (date(2026, 5, 31), "31-May-2026"),
        (date(2024, 12, 31), "31-Dec-2024"),
        (date(987, 9, 9), "09-Sep-0987"),
    ],
)
def test_a_day_is_written_in_english_whatever_the_locale(of: date, text: str) -> None:
    """RFC 3501 knows one language."""
    assert syntax.day(of) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"7", 7),
        (b"7] UIDs [valid", 7),
        (b"4294967295", 4294967295),
        (b"12345678901", None),
        (b"x7", None),
        (b"", None),
        (None, None),
    ],
)
def test_a_number_has_at_most_ten_digits(value: bytes | None, number: int | None) -> None:
    """What is no number of IMAP is none at all."""
    assert syntax.number_of(value) == number


# Rows.

ATOMS = st.from_regex(rb"[A-Za-z0-9\\$\[{}.<>*%]+", fullmatch=True).filter(
    lambda atom: atom.upper() != b"NIL" and b"[" not in atom
)
VALUES = st.one_of(
    st.none(),
    st.tuples(st.just("atom"), ATOMS),
    st.tuples(st.just("quoted"), st.binary().filter(lambda b: not set(b) & set(b"\r\n\0"))),
    st.tuples(st.just("literal"), st.binary()),
    st.tuples(st.just("list"), st.lists(ATOMS)),
)


def rendered(items: dict[bytes, tuple[str, object] | None]) -> list[bytes]:
    """Return a row as a server would write it: text and literal by turns."""
    pieces = [b"1 ("]
    for name, value in items.items():
        pieces[-1] += name + b" "
        match value:
            case ("literal", bytes(text)):
                pieces[-1] += b"{%d}" % len(text)
                pieces += [text, b""]
            case ("quoted", bytes(text)):
                escaped = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
                pieces[-1] += b'"' + escaped + b'"'
            case ("list", list(atoms)):
                pieces[-1] += b"(" + b" ".join(atoms) + b")"
            case (_, bytes(text)):
                pieces[-1] += text
            case _:
                pieces[-1] += b"NIL"
        pieces[-1] += b" "
    pieces[-1] = pieces[-1].rstrip(b" ") + b")"
    return pieces


@settings(max_examples=40)
@given(st.dictionaries(st.from_regex(rb"[A-Z]{1,9}(\[[A-Z (]*\](<0>)?)?", fullmatch=True), VALUES))
def test_a_row_is_read_as_it_was_written(items: dict[bytes, tuple[str, object] | None]) -> None:
    """Whatever its values look like; only lists are left out."""
    items = {
        (b"BODY" + name[name.index(b"[") :] if b"[" in name else name): value
        for name, value in items.items()
        if name != b"NIL"
    }
    expected = {
        name: None if value is None else value[1]
        for name, value in items.items()
        if value is None or value[0] != "list"
    }

    assert syntax.row(rendered(items)) == expected


@given(st.lists(st.binary(), min_size=1))
def test_nonsense_is_read_or_refused(pieces: list[bytes]) -> None:
    """No bytes make the reader fail in another way, or hang."""
    with suppress(ValueError):
        assert isinstance(syntax.row(pieces), dict)


# The wire.


class Dribble(socket.socket):
    """A socket that never gives more than one byte at once."""

    @override
    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Return the next byte."""
        return super().recv(1, flags)


@contextmanager
def a_wire(*, says: bytes = b"", slowly: bool = False) -> Iterator[Wire]:
    """Connect a wire to a server that says something and hangs up."""
    wire = Wire(timeout_seconds=5)
    with socket.create_server(("127.0.0.1", 0)) as server, wire.in_use():
        wire.connect("127.0.0.1", server.getsockname()[1])
        connection, _ = server.accept()
        connection.sendall(says)
        connection.close()
        if slowly:
            assert wire._socket is not None
            wire._socket = Dribble(fileno=wire._socket.detach())
        try:
            yield wire
        finally:
            wire.cut()


@pytest.mark.parametrize("slowly", [False, True])
def test_lines_and_literals_are_put_together_again(slowly: bool) -> None:
    """However the network splits them; a length of zero reads nothing."""
    with a_wire(says=b"* 1 {3}\r\na\nb x\r\n\r\nrest", slowly=slowly) as wire:
        assert wire.read_line() == b"* 1 {3}\r\n"
        assert wire.read(3) == b"a\nb"
        assert wire.read(0) == b""
        assert wire.read_line() == b" x\r\n"
        assert wire.read_line() == b"\r\n"
        with pytest.raises(ConnectionError, match="hung up"):
            wire.read_line()
        assert wire.read(4) == b"rest"


def test_no_more_is_read_than_fits() -> None:
    """The length of a literal comes from the other side."""
    with a_wire() as wire:
        with pytest.raises(ConnectionError, match="hung up"):
            wire.read(LIMIT_BYTES)
        with pytest.raises(ConnectionError, match="announced 8388609 bytes at once"):
            wire.read(LIMIT_BYTES + 1)


def test_a_wire_that_was_cut_is_not_used_again() -> None:
    """Whether it had been connected or not, and however often it is cut."""
    unused = Wire(timeout_seconds=5)
    unused.cut()
    unused.cut()
    with a_wire() as used:
        pass

    for wire in (unused, used):
        with pytest.raises(ConnectionError, match="given up"), wire.in_use():
            pytest.fail("a wire that was cut is used")


def test_a_wire_that_was_never_connected_carries_nothing() -> None:
    """Neither way."""
    wire = Wire(timeout_seconds=5)

    with wire.in_use():
        with pytest.raises(ConnectionError, match="closed"):
            wire.send(b"x")
        with pytest.raises(ConnectionError, match="closed"):
            wire.read(1)


def test_a_wire_cut_while_it_connects_closes_what_it_gets() -> None:
    """Who gave it up is no longer there to do it."""
    wire = Wire(timeout_seconds=5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with wire.in_use():
            wire.cut()
            with pytest.raises(ConnectionError, match="given up"):
                wire.connect("127.0.0.1", server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b""


def test_a_cut_reaches_a_connection_that_is_still_shaking_hands() -> None:
    """A server that never answers to TLS holds no thread."""
    wire = Wire(timeout_seconds=60)

    def shake_hands() -> None:
        with wire.in_use(), suppress(OSError):
            wire.secure(ssl.create_default_context(), "localhost")

    thread = threading.Thread(target=shake_hands)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with wire.in_use():
            wire.connect("127.0.0.1", server.getsockname()[1])
        connection, _ = server.accept()
        connection.settimeout(5)
        with connection:
            thread.start()
            assert connection.recv(1)
            wire.cut()
            while connection.recv(4096):
                pass
        thread.join(5)

    assert not thread.is_alive()


def test_a_cut_wakes_the_thread_that_uses_the_wire_and_leaves_closing_to_it() -> None:
    """The number of a closed socket could be another file's by the time the thread looks."""
    wire = Wire(timeout_seconds=5)
    with socket.create_server(("127.0.0.1", 0)) as server, wire.in_use():
        wire.connect("127.0.0.1", server.getsockname()[1])
        used = wire._socket
        assert used is not None
        wire.cut()
        assert used.fileno() >= 0
        with pytest.raises(ConnectionError, match="hung up"):
            wire.read_line()

    assert used.fileno() == -1
