"""The parts of a mail as bytes."""

from __future__ import annotations

import email
from email.policy import default

import pytest

from signoff.mail.parts import multipart, text_part


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Plain\nlines ", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        (
            "Grüße an alle, die dies lesen und nichts dagegen haben = gut\n.\nFrom me ",
            "quoted-printable",
        ),
        ("日本語の文章です。" * 9, "base64"),
        ("", "7bit"),
        ("one\r\ntwo\rthree", "7bit"),
    ],
)
def test_a_text_comes_back_from_seven_bits(text: str, encoding: str) -> None:
    """In the shortest encoding that holds it, whatever its lines end in."""
    part = text_part(text)
    read = email.message_from_bytes(part, policy=default)

    assert part.isascii()
    assert max(map(len, part.split(b"\r\n"))) <= 998
    assert b"\n" not in part.replace(b"\r\n", b"")
    assert read["Content-Transfer-Encoding"] == encoding
    assert (read.get_content_type(), read.get_content_charset()) == ("text/plain", "utf-8")
    assert read.get_content().splitlines() == text.splitlines()
    assert read.get_content_disposition() is None


def test_an_attachment_has_its_name() -> None:
    """And its type."""
    read = email.message_from_bytes(text_part("x", filename="a.txt"), policy=default)

    assert (read.get_content_disposition(), read.get_filename()) == ("attachment", "a.txt")
    assert (
        email.message_from_bytes(text_part("x", subtype="html")).get_content_type() == "text/html"
    )


def test_lone_surrogates_are_no_text() -> None:
    """Nothing is sent of what nobody could read."""
    with pytest.raises(UnicodeEncodeError):
        text_part("\ud800")


def test_parts_come_back_from_a_multipart() -> None:
    """In their order, also one that is a multipart itself; the same parts give the same bytes."""
    inner = multipart("alternative", [text_part("a"), text_part("<p>a</p>", subtype="html")])
    whole = multipart("mixed", [inner, text_part("b", filename="b.txt")])
    read = email.message_from_bytes(b"MIME-Version: 1.0\r\n" + whole, policy=default)

    assert [part.get_content_type() for part in read.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "text/plain",
    ]
    texts = [part.get_content() for part in read.walk() if not part.is_multipart()]
    assert [text.replace("\r", "") for text in texts] == [
        "a\n",
        "<p>a</p>\n",
        "b\n",
    ]
    assert [part.defects for part in read.walk()] == [[]] * 5
    assert multipart("mixed", [inner, text_part("b", filename="b.txt")]) == whole
    assert multipart("mixed", [inner]) != whole
