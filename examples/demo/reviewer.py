"""
Process two: the reviewer, who has a mailbox and nothing else.

Knows nothing of Signoff: it reads the newest mail by IMAP and answers its Reply-To by SMTP, as
any mail program does. With `--interactive` the person at the terminal writes the answer.
"""

from __future__ import annotations

import email
import email.policy
import imaplib
import os
import smtplib
import sys
from email.message import EmailMessage

ADDRESS = "brand@acme.example"


def newest_mail(host: str, port: int, login: str, password: str) -> EmailMessage:
    """Return the newest mail in the mailbox."""
    with imaplib.IMAP4(host, port) as imap:
        imap.login(login, password)
        imap.select("INBOX")
        numbers = imap.search(None, "ALL")[1][0].split()
        rows = imap.fetch(numbers[-1].decode(), "(BODY.PEEK[])")[1]
        raw = next(row[1] for row in rows if isinstance(row, tuple))
    return email.message_from_bytes(raw, policy=email.policy.default)


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail."""
    part = mail.get_body(("plain",))
    return part.get_content() if part is not None else ""


def typed_answer(mail: EmailMessage) -> str:
    """Show the mail to the person at the terminal and let them answer."""
    print(f"\n{mail['Subject']}\n\n{text_of(mail)}\n")
    lines = [input("Your answer (its first line decides): ")]
    while line := input("More, or nothing: "):
        lines.append(line)
    return "\n".join(lines)


def answer(mail: EmailMessage, text: str, host: str, port: int) -> None:
    """Reply to a mail, quoting it as mail programs do."""
    reply = EmailMessage()
    reply["From"] = ADDRESS
    reply["To"] = mail["Reply-To"]
    reply["Subject"] = f"Re: {mail['Subject']}"
    reply["In-Reply-To"] = mail["Message-ID"]
    quoted = "\n".join(f"> {line}" for line in text_of(mail).splitlines())
    reply.set_content(f"{text}\n\nOn Monday, {mail['From']} wrote:\n{quoted}\n")
    with smtplib.SMTP(host, port) as smtp:
        smtp.send_message(reply)


def main() -> None:
    """Read, decide, reply."""
    host, imap_port, smtp_port, login, password = sys.argv[1:6]
    mail = newest_mail(host, int(imap_port), login, password)
    print(f"[{os.getpid()}] the reviewer has a mail: {mail['Subject']}")
    text = typed_answer(mail) if "--interactive" in sys.argv else "approved\n\nGreat offer!"
    answer(mail, text, host, int(smtp_port))
    print(f"[{os.getpid()}] the reviewer replied: {text.splitlines()[0]}")


if __name__ == "__main__":
    main()
