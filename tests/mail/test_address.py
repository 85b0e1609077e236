from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.errors import ConfigurationError
from signoff.mail.address import (
    carries_tag,
    delivery_id_of,
    is_reply_address,
    is_same,
    message_id,
    message_ids_in,
    parse_from,
    reply_address,
    tokens_in,
)
from signoff.rules.addresses import MAX_LOCAL_OCTETS, normalise_address

TOKEN = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop"
OTHER = TOKEN[::-1]
DELIVERY = "dlv_abcdefghijklmnopqrstuvwxy2"
ALICE = "alice@corp.example"


# Who a mail is from


@pytest.mark.parametrize(
    "header",
    [
        "alice@corp.example",
        "  Alice@Corp.Example  ",
        "<alice@corp.example>",
        "Alice <alice@corp.example>",
        "Alice B. Doe-Smith <alice@corp.example>",
        "\tAlice\t<alice@corp.example>\t",
        '"Doe, Alice" <alice@corp.example>',
        '"Alice \\"Al\\" Doe" <alice@corp.example>',
        '"" <alice@corp.example>',
        '"Alice"<alice@corp.example>',
        'Alice "Al" Doe <alice@corp.example>',
        "=?utf-8?q?Alic=C3=A9?= <alice@corp.example>",
        "=?utf-8?B?QWxpY2U=?= =?utf-8?q?_Doe?= <alice@corp.example>",
        "Alicé Dœ <alice@corp.example>",
        "Alice\r\n <alice@corp.example>",
        "Alice\n\t<alice@corp.example>\r\n",
        '"mallory@evil.example" <alice@corp.example>',
        "O'Neil/Alice* <alice@corp.example>",
        "Alic\u00e9 <alice@corp.example>".encode(),
        "Alic\u00e9 <alice@corp.example>".encode().decode("ascii", "surrogateescape"),
    ],
)
def test_the_sender_is_the_one_plain_address_in_from(header: str | bytes) -> None:
    """Display names of every usual form are passed over."""
    assert parse_from([header]) == ALICE


HOSTILE = [
    "",
    " ",
    "Alice",
    "Alice <>",
    "<>",
    "alice@corp.example <mallory@evil.example>",
    "alice@corp.example)<mallory@evil.example>",
    "<alice@corp.example> <mallory@evil.example>",
    "<alice@corp.example><mallory@evil.example>",
    "<alice@corp.example> mallory@evil.example",
    "alice@corp.example, mallory@evil.example",
    "alice@corp.example; mallory@evil.example",
    "alice@corp.example,",
    ",alice@corp.example",
    "alice@corp.example mallory@evil.example",
    "Alice: alice@corp.example;",
    "Alice: <alice@corp.example>;",
    "undisclosed-recipients:;",
    "alice@corp.example (mallory@evil.example)",
    "(comment) alice@corp.example",
    "alice@corp.example(",
    "Alice (the boss) <alice@corp.example>",
    "alice(@evil.example)@corp.example",
    '"alice@corp.example" mallory@evil.example',
    '"alice@evil.example"@corp.example',
    '"alice"@corp.example',
    '"Alice <alice@corp.example>',
    'Alice" <alice@corp.example>',
    '"Alice\\" <alice@corp.example>',
    "Alice <alice@corp.example",
    "Alice alice@corp.example>",
    "Alice <<alice@corp.example>>",
    "Alice < alice@corp.example >",
    "Alice <alice @corp.example>",
    "Alice <@evil.example:alice@corp.example>",
    "Alice <alice@corp.example> trailing",
    "Alice <alice@corp.example>\x00",
    "Alice\x00 <alice@corp.example>",
    "\x1b$BAlice\x1b(B <alice@corp.example>",
    "Alice\r\n<alice@corp.example>",
    "alice@corp.example\r\nFrom: mallory@evil.example",
    "Alice\r <alice@corp.example>",
    "alice@evil.example@corp.example",
    "alice@corp.example@evil.example",
    "alice@\u0441orp.example@corp.example",
    "Alice \\<mallory@evil.example> <alice@corp.example>",
    "[alice@corp.example]",
    "Alice [x] <alice@corp.example>",
    "alice@corp.example\u2028",
    "Alice\x85 <alice@corp.example>",
    "alice\u0000@corp.example",
    "alic\u0435@corp.example",
    "<alice@[127.0.0.1]>",
    "=?utf-8?q?alice=40corp.example?=",
    "alice@=?utf-8?q?corp=2Eexample?=",
    "mailto:alice@corp.example",
    "x" * 17_000 + " <alice@corp.example>",
    b"Alic\xe9 <alice@corp.example>",
    b"Alic\xe9 <alice@corp.example>".decode("ascii", "surrogateescape"),
    "\ud800 <alice@corp.example>",
]


@pytest.mark.parametrize("header", HOSTILE)
def test_a_from_that_two_parsers_could_read_differently_names_nobody(header: str | bytes) -> None:
    """Requirement 9: the server may have authenticated somebody else than we would read."""
    with pytest.raises(ValueError, match=".") as caught:
        parse_from([header])

    assert "alice" not in str(caught.value)


def test_there_are_at_least_thirty_hostile_headers() -> None:
    """The table stays long."""
    assert len(HOSTILE) >= 30


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"alice@corp.example" <mallory@evil.example>', "mallory@evil.example"),
        ("=?utf-8?q?alice=40corp.example?= <mallory@evil.example>", "mallory@evil.example"),
        ("alice <alice@\u0441orp.example>", "alice@xn--orp-3ed.example"),
        ("Alice <alice+x@corp.example>", "alice+x@corp.example"),
        ("Alice <al.ice@corp.example>", "al.ice@corp.example"),
        ("Alice <alice@corp.example.evil.example>", "alice@corp.example.evil.example"),
        ("Alice <alice@CORP.example>", ALICE),
    ],
)
def test_a_look_alike_is_somebody_else(header: str, expected: str) -> None:
    """Display names, homoglyphs, tags and dots never make one sender another."""
    assert parse_from([header]) == expected


@pytest.mark.parametrize(("values", "count"), [([], 0), ([ALICE, ALICE], 2), ([ALICE] * 3, 3)])
def test_there_is_exactly_one_from(values: list[str], count: int) -> None:
    """Two headers are two opinions, even when they agree."""
    with pytest.raises(ValueError, match=f"^{count} From headers; there must be one$"):
        parse_from(values)


@given(st.text(max_size=60))
def test_any_text_beside_an_address_either_fails_or_names_it(text: str) -> None:
    """Whatever stands before the angle brackets, nobody else comes out."""
    try:
        found = parse_from([f"{text} <{ALICE}>"])
    except ValueError:
        return

    assert found == ALICE


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    """Only `ValueError` comes out, whatever goes in."""
    try:
        found = parse_from([data])
    except ValueError:
        return

    assert normalise_address(found) == found


# Where answers go


@pytest.mark.parametrize(
    ("base", "separator", "expected"),
    [
        ("approvals@example.com", "+", f"approvals+{TOKEN}@example.com"),
        ("Approvals@Example.COM", "-", f"approvals-{TOKEN}@example.com"),
        ("a@example.com", "_", f"a_{TOKEN}@example.com"),
        ("a@example.com", "=", f"a={TOKEN}@example.com"),
        ("x" * 15 + "@example.com", "+", "x" * 15 + f"+{TOKEN}@example.com"),
        ("@reply.example.com", "+", f"{TOKEN}@reply.example.com"),
        ("@Reply.Example.com", "-", f"{TOKEN}@reply.example.com"),
    ],
)
def test_a_reply_address_carries_the_token(base: str, separator: str, expected: str) -> None:
    """A mailbox takes it behind its name, a whole domain takes it as the name."""
    assert reply_address(base, TOKEN, separator=separator) == expected


def test_a_name_of_16_characters_is_too_long() -> None:
    """64 octets are the limit, and the message says how long a name may be."""
    with pytest.raises(ConfigurationError, match="its name at most 15, not 16") as caught:
        reply_address("x" * 16 + "@example.com", TOKEN)

    assert TOKEN not in str(caught.value)


@given(st.integers(1, 40))
def test_no_reply_address_is_longer_than_allowed(length: int) -> None:
    """Either the base is refused, or the part before the @ has at most 64 octets."""
    base = "b" * length + "@example.com"
    if length > 15:
        with pytest.raises(ConfigurationError):
            reply_address(base, TOKEN)
    else:
        assert len(reply_address(base, TOKEN).partition("@")[0]) <= MAX_LOCAL_OCTETS


@pytest.mark.parametrize(
    ("base", "separator", "message"),
    [
        ("nonsense", "+", "reply_to='nonsense' is no mail address; give `name@domain`"),
        ("", "+", "reply_to='' is no mail address"),
        ("@", "+", "'' is no domain: not a domain name"),
        ("@ex ample", "+", "'ex ample' is no domain"),
        ("a@b.example", "", "'' cannot part a mailbox's name and a token; use one of + - = _"),
        ("a@b.example", "++", "'++' cannot part"),
        ("a@b.example", ".", "'.' cannot part"),
        ("@b.example", "/", "'/' cannot part"),
    ],
)
def test_a_base_that_cannot_work_is_refused(base: str, separator: str, message: str) -> None:
    """A wrong set-up shows at the start, not with the first reply that is lost."""
    with pytest.raises(ConfigurationError) as caught:
        reply_address(base, TOKEN, separator=separator)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "token",
    ["", "a" * 47, "a" * 49, TOKEN.upper(), TOKEN[:-1] + "1", TOKEN[:-1] + ".", TOKEN + "\n"],
)
def test_only_tokens_go_into_an_address(token: str) -> None:
    """Other characters would be quoted, split or lost on the way."""
    with pytest.raises(ValueError, match="^not a token$"):
        reply_address("a@b.example", token)


@pytest.mark.parametrize(
    ("address", "base", "separator", "expected"),
    [
        ("approvals@example.com", "approvals@example.com", "+", True),
        ("approvals@example.com", "Approvals@Example.com", "+", True),
        (f"approvals+{TOKEN}@example.com", "approvals@example.com", "+", True),
        ("approvals+x@example.com", "approvals@example.com", "+", True),
        ("approvals-x@example.com", "approvals@example.com", "-", True),
        ("approvals-x@example.com", "approvals@example.com", "+", False),
        ("approvalsx@example.com", "approvals@example.com", "+", False),
        ("approvals@other.example", "approvals@example.com", "+", False),
        ("approvals@sub.example.com", "approvals@example.com", "+", False),
        ("anything@reply.example.com", "@reply.example.com", "+", True),
        ("anything@example.com", "@reply.example.com", "+", False),
    ],
)
def test_our_own_addresses_are_known(
    address: str, base: str, separator: str, *, expected: bool
) -> None:
    """The base, with or without a token, or anything in a domain of ours."""
    assert is_reply_address(address, base=base, separator=separator) is expected


# Which token came back


def test_tokens_are_looked_for_in_the_likeliest_header_first() -> None:
    """What a server noted on delivery comes before what the sender wrote."""
    names = ["Cc", "To", "Envelope-To", "X-Original-To", "Delivered-To", "X-Gm-Original-To"]
    tokens = [letter * 48 for letter in "abcdef"]
    headers = [(name, f"a+{token}@example.com") for name, token in zip(names, tokens, strict=True)]

    assert tokens_in(headers) == tokens[::-1]
    assert tokens_in(reversed(headers)) == tokens[::-1]


@pytest.mark.parametrize(
    "value",
    [
        f"approvals+{TOKEN}@example.com",
        f"Approvals <APPROVALS+{TOKEN.upper()}@EXAMPLE.COM>",
        f'"a+{TOKEN}@example.com" <a+{TOKEN}@example.com>, b@example.com',
        f"<{TOKEN}@reply.example.com>",
        f"{TOKEN}@reply.example.com",
        f"a-{TOKEN}@x.example",
        f"a_{TOKEN}@x.example",
        f"a={TOKEN}@x.example",
        f"b@x.example,\n a+{TOKEN}@x.example",
    ],
)
def test_a_token_is_found_in_every_form_of_address(value: str) -> None:
    """Case, display name, separator and neighbours do not matter; what comes out is lower-case."""
    assert tokens_in([("to", value)]) == [TOKEN]


@pytest.mark.parametrize(
    "value",
    [
        "",
        TOKEN,
        f"a+{TOKEN}",
        f"a+{TOKEN[:-1]}@x.example",
        f"a+x{TOKEN}@x.example",
        f"{TOKEN}{TOKEN}@x.example",
        f"a+{TOKEN[:-1]}1@x.example",
        f"a+{TOKEN}.x@x.example",
        f"a+{TOKEN[:-1]}\u212a@x.example",
    ],
)
def test_what_is_not_48_characters_of_the_alphabet_is_no_token(value: str) -> None:
    """Neither a part of a longer word nor one with other characters."""
    assert tokens_in([("To", value)]) == []


def test_other_headers_are_not_looked_at() -> None:
    """A token in the subject or a received line is not where the answer went."""
    value = f"a+{TOKEN}@x.example"

    assert tokens_in([("Subject", value), ("Received", value), ("From", value)]) == []


def test_at_most_eight_different_candidates_are_returned() -> None:
    """A mail full of invented tokens costs no more than eight look-ups."""
    tokens = [letter * 48 for letter in string.ascii_lowercase[:10]]
    value = ", ".join(f"a+{token}@x.example" for token in tokens)

    assert tokens_in([("To", f"a+{tokens[0]}@x.example, {value}")]) == tokens[:8]
    assert tokens_in([("Delivered-To", f"a+{OTHER}@x.example"), ("To", value)]) == [
        OTHER,
        *tokens[:7],
    ]


# Which mail is answered


def test_a_message_id_names_its_delivery() -> None:
    """The id is the delivery's, at the sender's domain, and can be read back."""
    made = message_id(DELIVERY, "Mail.Example.com")

    assert made == f"<{DELIVERY}@mail.example.com>"
    assert delivery_id_of(made) == DELIVERY
    assert delivery_id_of(made.upper()) == DELIVERY


def test_a_message_id_with_a_token_carries_a_tag_that_nobody_else_makes() -> None:
    """80 bits that only the token gives; the token is not in it; any case proves the same."""
    made = message_id(DELIVERY, "example.com", token=TOKEN)

    assert made == f"<{DELIVERY}.uoqj5nlurl45tjiy@example.com>"
    assert TOKEN not in made
    assert delivery_id_of(made) == DELIVERY
    assert carries_tag(made, token=TOKEN)
    assert carries_tag(made.upper(), token=TOKEN)
    assert message_ids_in([("In-Reply-To", made.upper())]) == [made]
    assert not carries_tag(made, token=OTHER)
    assert not carries_tag(made.replace(DELIVERY, DELIVERY[:-1] + "3"), token=TOKEN)
    assert not carries_tag(made.replace(".uoq", ".uor"), token=TOKEN)
    assert not carries_tag(message_id(DELIVERY, "example.com"), token=TOKEN)
    assert not carries_tag("<x@example.com>", token=TOKEN)


def test_a_message_id_keeps_the_end_of_a_long_domain() -> None:
    """A longer id would be folded; two labels stay in any case."""
    assert message_id(DELIVERY, "x" * 37 + ".example") == f"<{DELIVERY}@{'x' * 37}.example>"
    longest = message_id(DELIVERY, f"a.{'x' * 33}.example")
    assert (longest, len(longest)) == (f"<{DELIVERY}@a.{'x' * 33}.example>", 76)
    assert message_id(DELIVERY, f"a.{'x' * 34}.example") == f"<{DELIVERY}@{'x' * 34}.example>"
    assert message_id(DELIVERY, f"{'x' * 63}.{'y' * 63}").endswith(f"@{'x' * 63}.{'y' * 63}>")
    tagged = message_id(DELIVERY, "mail.approvals.acme.example", token=TOKEN)
    assert tagged.endswith("@approvals.acme.example>")
    assert len(tagged) <= 76


@pytest.mark.parametrize(
    "delivery_id", ["", "dlv_", "dlv_A", "run_abc", "dlv_a b", "dlv_" + "a" * 33]
)
def test_only_a_delivery_has_a_message_id(delivery_id: str) -> None:
    """Anything else could not be found again."""
    with pytest.raises(ValueError, match="^not a delivery id$"):
        message_id(delivery_id, "example.com")


def test_a_message_id_needs_a_domain() -> None:
    """A name that no mail can be sent from is a wrong set-up."""
    with pytest.raises(ConfigurationError, match="'not a domain' is no domain"):
        message_id(DELIVERY, "not a domain")


@pytest.mark.parametrize(
    "text", ["", DELIVERY, f"<{DELIVERY}>", "<run_a@x.example>", f" <{DELIVERY}@x>"]
)
def test_other_message_ids_belong_to_no_delivery(text: str) -> None:
    """What `message_id` did not make is refused."""
    with pytest.raises(ValueError, match="^not a message id of a delivery$"):
        delivery_id_of(text)


def test_message_ids_are_found_newest_first() -> None:
    """The mail that is answered comes first, then the thread backwards; others' ids are not ours."""
    first, second, third = (f"<dlv_{letter * 26}@example.com>" for letter in "abc")
    headers = [
        ("References", f"<x@evil.example> {first}\n {second}"),
        ("Subject", f"<dlv_{'z' * 26}@example.com>"),
        ("in-reply-to", third.upper()),
        ("References", first),
    ]

    assert message_ids_in(headers) == [third, first, second]


def test_at_most_eight_message_ids_are_returned() -> None:
    """A thread of any length costs no more than eight look-ups, and the newest are kept."""
    ids = [f"<dlv_{letter * 26}@x.example>" for letter in string.ascii_lowercase[:12]]

    assert message_ids_in([("References", " ".join(ids))]) == ids[:3:-1]


def test_a_mail_that_answers_nothing_of_ours_has_no_message_ids() -> None:
    """No header, or none with an id of a delivery."""
    assert message_ids_in([]) == []
    assert message_ids_in([("In-Reply-To", "<abc@example.com>"), ("References", "dlv_a@x")]) == []


def test_a_sender_is_compared_with_any_spelling_of_a_recipient() -> None:
    """The header is normalised, what somebody configured may not be."""
    sender = "ann@xn--bcher-kva.example"
    assert is_same(sender, "Ann@B\u00fccher.example")
    assert is_same(sender, sender)
    for other in ("ann@bucher.example", "anna@b\u00fccher.example", "", "slack:ann"):
        assert not is_same(sender, other)
        assert not is_same(None, other)
