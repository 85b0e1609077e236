"""
The reviewer gets a mail and answers it; everything but the network is real.

Run it with `python examples/reply_by_mail.py`. `MemoryMail` stands in for `SMTPNotifier` and
`IMAPInbox`; `nox -s demo` shows those with real servers.
"""

import anyio

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.testing import MemoryMail


class Announce(Flow, name="examples.announce"):
    """Ask the brand team, and publish what they approved."""

    @start()
    @human_feedback(
        message="Shall we publish this?",
        emit=["approved", "rejected"],
        assign_to_email="brand@acme.example",
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen("rejected")
    def drop(self, result: HumanFeedbackResult) -> str:
        """Act on a refusal."""
        return f"{result.reviewer} refused: {result.feedback}"


async def main() -> None:
    """Ask, answer by mail, and go on."""
    mail = MemoryMail(trusted_server="mx.acme.example")
    async with Client(notifiers=[mail], inbox=mail) as client:
        run = await client.flows.start(Announce)
        await client.drain()
        print(mail.sent[0]["To"], "|", mail.sent[0]["Subject"])

        mail.reply(mail.sent[0], "Rejected\n\nwrong price on page 2")
        await client.drain()
        run = await client.flows.get(run.id)
        print(run.output)
        print(mail.sent[1]["To"], "|", mail.sent[1]["Subject"])


anyio.run(main)

# Output:
# brand@acme.example | [Approval] Shall we publish this?
# brand@acme.example refused: wrong price on page 2
# brand@acme.example | Re: [Approval] Shall we publish this?
