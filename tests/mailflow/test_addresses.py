"""The addresses and ids of real mails: within the limits, in any case, bound to one recipient."""

from __future__ import annotations

import string
from datetime import timedelta
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff import Client, Flow, human_feedback, start
from signoff.errors import ConfigurationError
from signoff.mail.address import SEPARATORS, message_id, reply_address
from signoff.mail.compose import compose
from signoff.mail.refusals import refusal_note
from signoff.model.request import Request
from signoff.model.token import TokenPurpose
from signoff.notifiers import SMTPNotifier
from signoff.outbox import binding_of
from signoff.ports import Outgoing
from signoff.security.tokens import mint, parse
from signoff.testing import ManualClock, MemoryMail
from signoff.testing.builders import NOON, a_delivery, a_request

ANN, BEN = "ann@acme.example", "ben@acme.example"
ALPHABET = set(string.ascii_lowercase + "234567")


class Ask(Flow, name="addresses.ask"):
    """A question to two people."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assignees=[ANN, BEN])
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


async def asked(client: Client, mail: MemoryMail) -> dict[str, EmailMessage]:
    """Ask, and return the mails by recipient."""
    await client.flows.start(Ask)
    await client.drain()
    return {str(one["To"]): one for one in mail.sent}


async def newest(client: Client) -> Request:
    """Let the client work, and return the only request."""
    await client.drain()
    (request,) = await client.hitl.list_requests()
    return request


def local_part(address: str) -> str:
    """Return what stands before the `@`, without angle brackets."""
    return address.strip("<>").rpartition("@")[0]


async def test_both_addresses_of_a_mail_are_short_plain_and_its_own() -> None:
    """Requirement 6: 64 octets with base and separator; the tag is of one alphabet."""
    mail = MemoryMail(sender="approvals-longe@signoff.example")
    async with Client(notifiers=[mail], inbox=mail) as client:
        mails = await asked(client, mail)

    addresses = [str(one[name]) for one in mails.values() for name in ("Reply-To", "Return-Path")]
    assert len(set(addresses)) == 4
    for address in addresses:
        assert len(local_part(address)) == 64
        assert set(local_part(address).removeprefix("approvals-longe+")) <= ALPHABET


@pytest.mark.parametrize("action", ["reply", "bounce"])
async def test_an_address_in_upper_case_is_the_same(action: str) -> None:
    """Requirement 6: mail systems change the case."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail) as client:
        one = (await asked(client, mail))[ANN]
        for name in ("Reply-To", "Return-Path"):
            value = str(one[name]).upper()
            del one[name]
            one[name] = value
        if action == "reply":
            mail.reply(one, "approved")
            assert (await newest(client)).status == "approved"
        else:
            mail.bounce(one)
            request = await newest(client)
            sent = await client.hitl.deliveries(request_id=request.request_id)
            assert sorted(each.status for each in sent) == ["failed", "sent"]


@given(
    name=st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=40),
    separator=st.sampled_from(sorted(SEPARATORS)),
)
@settings(max_examples=60)
def test_a_base_is_refused_exactly_when_it_is_too_long(name: str, separator: str) -> None:
    """Requirement 6: at configuration, not when the first mail goes out."""
    base = f"{name}@acme.example"

    def notifier() -> SMTPNotifier:
        return SMTPNotifier("mx", sender="s@acme.example", reply_to=base, separator=separator)

    if len(name) <= 15:
        assert len(local_part(reply_address(base, "a" * 48, separator=separator))) <= 64
        notifier()
    else:
        with pytest.raises(ConfigurationError, match="cannot carry a token"):
            notifier()


async def test_a_token_is_good_for_its_recipient_until_its_request_ends() -> None:
    """Requirement 7: bound to request and approver; dead at the instant of expiry."""
    mail, clock = MemoryMail(), ManualClock()
    async with Client(notifiers=[mail], inbox=mail, clock=clock) as client:
        mails = await asked(client, mail)
        mail.reply(mails[ANN], "approved", sender=BEN)
        mail.reply(mails[BEN], "approved", sender=ANN)
        assert (await newest(client)).status == "pending"
        clock.advance(timedelta(days=7) - timedelta(microseconds=1))
        mail.reply(mails[ANN], "what?")
        assert (await newest(client)).status == "pending"
        clock.advance(timedelta(microseconds=1))
        mail.reply(mails[ANN], "approved")
        assert (await newest(client)).status == "expired"


async def test_every_single_change_of_a_token_makes_it_nobodys() -> None:
    """Requirement 7: at each of its places; all of them are only counted."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail) as client:
        one = (await asked(client, mail))[ANN]
        token = local_part(str(one["Reply-To"])).partition("+")[2]
        for place, letter in enumerate(token):
            other = "a" if letter != "a" else "b"
            del one["Reply-To"]
            one["Reply-To"] = (
                f"approvals+{token[:place]}{other}{token[place + 1 :]}@signoff.example"
            )
            mail.reply(one, "approved")
        assert (await newest(client)).status == "pending"
        assert mail.put_away == []
        inbox = (await client.health()).inbox
        assert inbox is not None
        assert inbox.ignored == {"no token": len(token)}


WRONG: tuple[TokenPurpose, ...] = ("callback", "link", "bounce")


@pytest.mark.parametrize("purpose", WRONG)
async def test_a_token_of_another_purpose_is_no_address(purpose: TokenPurpose) -> None:
    """Requirement 7: domain-separated, though its row is the same."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail) as client:
        one = (await asked(client, mail))[ANN]
        parsed = parse(local_part(str(one["Reply-To"])).partition("+")[2])
        row = await client._store.token(parsed.token_id.hex())
        assert row is not None
        keyring = client._machinery.hitl._at.keyring
        text = mint(keyring, token_id=parsed.token_id, purpose=purpose, binding=binding_of(row))
        del one["Reply-To"]
        one["Reply-To"] = f"approvals+{text}@signoff.example"
        mail.reply(one, "approved")

        assert (await newest(client)).status == "pending"
        assert mail.put_away == []


def test_ids_go_out_plain_on_one_line_and_thread() -> None:
    """Requirement 14: no id is folded or encoded, in the longest form that they have."""
    longest = message_id("dlv_" + "a" * 26, f"{'x' * 18}.example", token="a" * 48)
    outgoing = Outgoing(
        delivery=a_delivery(kind="refusal", note=refusal_note("empty")),
        request=a_request(),
        first_message_id=longest,
    )
    raw = compose(
        outgoing,
        sender="approvals@acme.example",
        sender_name="",
        reply_to="",
        message_id=longest,
        now=NOON,
    )

    assert len(longest) == 76
    for name in ("Message-ID", "In-Reply-To", "References"):
        assert f"\r\n{name}: {longest}\r\n".encode() in raw
