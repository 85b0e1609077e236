"""A mailbox in memory: what SMTP and IMAP do, without servers (floor 9)."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from typing import Final, cast

from typing_extensions import override

from signoff.bell import Bell
from signoff.errors import NotifyError
from signoff.mail.address import message_id, reply_address
from signoff.mail.compose import compose
from signoff.ports import Batch, Correspondence, Inbox, Incoming, Notifier, Outgoing
from signoff.rules.addresses import normalise_address

BATCH: Final = 50
"""How many messages `MemoryMail.fetch` returns at the most."""


class MemoryMail(Notifier, Inbox):
    """
    Both the notifier and the inbox of a client, for tests of whole mail round trips.

    Mails are composed and replies are read exactly as with real servers.

    Attributes:
        sent: The mails that went out, oldest first; each with the envelope's sender in
            `Return-Path`, as a server notes it on delivery.
        put_away: The ids of the messages that were handled.
        failed: The ids of the messages that could not be handled.
        error: While set, raised by every `send`.
        vouches: Whether the trusted server, if there is one, vouches for whoever replies.
    """

    def __init__(
        self,
        *,
        sender: str = "approvals@signoff.example",
        sender_name: str = "Approvals",
        trusted_server: str | None = None,
        name: str = "mail",
    ) -> None:
        """
        Make an empty mailbox.

        Args:
            sender: The address in From; replies go to the same with a token.
            sender_name: The name beside it.
            trusted_server: The authserv-id whose `Authentication-Results` are believed.
            name: Unique within a client.
        """
        self.name = name
        self.expects_reply = True
        self.trusted_server = trusted_server
        self.poll_interval_seconds = 60.0
        self.correspondence = Correspondence(
            sender=sender, sender_name=sender_name, reply_to=sender
        )
        self.sent: list[EmailMessage] = []
        self.put_away: list[str] = []
        self.failed: list[str] = []
        self.error: NotifyError | None = None
        self.vouches = True
        self._incoming: list[Incoming] = []
        self._news = Bell()
        self._rings_heard = 0

    @override
    def reaches(self, recipient: str) -> bool:
        """Return whether `recipient` is a plain mail address."""
        try:
            normalise_address(recipient)
        except ValueError:
            return False
        return True

    @override
    async def send(self, outgoing: Outgoing) -> str:
        """Put a mail into `sent`, and return its message id. Raises `error` while that is set."""
        if self.error is not None:
            raise self.error
        who = self.correspondence
        identity = message_id(
            outgoing.delivery.delivery_id, who.sender.rpartition("@")[2], token=outgoing.token
        )
        raw = compose(
            outgoing,
            sender=who.sender,
            sender_name=who.sender_name,
            reply_to=reply_address(who.reply_to, outgoing.token) if outgoing.token else "",
            message_id=identity,
            now=outgoing.delivery.not_before,
        )
        parsed = email.message_from_bytes(raw, policy=email.policy.default)
        envelope = outgoing.bounce_token and reply_address(who.reply_to, outgoing.bounce_token)
        parsed["Return-Path"] = f"<{envelope}>"
        self.sent.append(parsed)
        return identity

    def reply(
        self,
        mail: EmailMessage,
        text: str,
        *,
        sender: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """
        Answer a sent mail as a mail program does, quoting it, and return the raw answer.

        Args:
            mail: One of `sent`.
            text: What the reviewer writes above the quotation.
            sender: The address in From; the mail's recipient unless given.
            headers: More headers, such as `Authentication-Results`; they come topmost.
        """
        answer = EmailMessage()
        writer = sender or str(mail["To"])
        if self.trusted_server is not None and self.vouches:
            domain = writer.rpartition("@")[2]
            answer["Authentication-Results"] = (
                f"{self.trusted_server}; dmarc=pass header.from={domain}"
            )
        for name, value in (headers or {}).items():
            answer[name] = value
        answer["From"] = writer
        answer["To"] = str(mail["Reply-To"] or mail["From"])
        answer["Subject"] = f"Re: {mail['Subject']}"
        answer["Message-ID"] = f"<answer-{len(self._incoming)}@signoff.example>"
        answer["In-Reply-To"] = str(mail["Message-ID"])
        body = cast("EmailMessage", mail.get_body(("plain",)))
        quoted = "\n".join(f"> {line}" for line in body.get_content().splitlines())
        answer.set_content(f"{text}\n\nOn Monday, {mail['From']} wrote:\n{quoted}\n")
        raw = answer.as_bytes()
        self.receive(raw)
        return raw

    def bounce(self, mail: EmailMessage, *, status: str = "5.1.1", action: str = "failed") -> bytes:
        """
        Report to a sent mail's own envelope sender that it did not arrive; return the raw report.

        Args:
            mail: One of `sent`.
            status: The enhanced status code.
            action: What the server says that it did: ``failed`` or ``delayed``.

        Source: RFC 3464 (its form).
        """
        report = (
            "Return-Path: <>",
            "From: Mail Delivery System <MAILER-DAEMON@signoff.example>",
            f"To: {str(mail['Return-Path']).strip('<>')}",
            "Subject: Undelivered Mail Returned to Sender",
            "Auto-Submitted: auto-replied",
            f"Message-ID: <report-{len(self._incoming)}@signoff.example>",
            'Content-Type: multipart/report; report-type=delivery-status; boundary="report"',
            "",
            "--report",
            "",
            "This is the mail system at signoff.example.",
            "--report",
            "Content-Type: message/delivery-status",
            "",
            "Reporting-MTA: dns; signoff.example",
            "",
            f"Final-Recipient: rfc822; {mail['To']}",
            f"Action: {action}",
            f"Status: {status}",
            f"Diagnostic-Code: smtp; 550 {status} <{mail['To']}>: not delivered",
            "--report",
            "Content-Type: message/rfc822",
            "",
            mail.as_string(),
            "--report--",
        )
        raw = "\n".join(report).encode()
        self.receive(raw)
        return raw

    def receive(self, raw: bytes, *, cut: bool = False) -> None:
        """Put a raw message into the inbox; `cut` says that the inbox read only these bytes of it."""
        self._incoming.append(Incoming(uid=str(len(self._incoming) + 1), raw=raw, cut=cut))
        self._news.ring()

    @override
    async def fetch(self, mark: str | None) -> Batch:
        """Return the next messages above `mark` that were not put away."""
        self._rings_heard = self._news.rings
        gone = {*self.put_away, *self.failed}
        above = [one for one in self._incoming if int(one.uid) > int(mark or 0)]
        batch = above[:BATCH]
        return Batch(
            messages=[one for one in batch if one.uid not in gone],
            mark=batch[-1].uid if batch else mark,
            more=len(above) > BATCH,
        )

    @override
    async def done(self, uids: Sequence[str]) -> None:
        """Note that messages were handled."""
        self.put_away += uids

    @override
    async def set_aside(self, uids: Sequence[str]) -> None:
        """Note that messages could not be handled."""
        self.failed += uids

    @override
    async def wait_for_news(self, seconds: float) -> None:
        """Return as soon as there is a reply, at the latest after `seconds`."""
        await self._news.wait(seconds, after=self._rings_heard)

    @override
    async def aclose(self) -> None:
        """Do nothing."""
