"""The flow of the demo, and the client that runs it: what a user would write."""

from __future__ import annotations

import os

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.inboxes import IMAPInbox
from signoff.notifiers import SMTPNotifier
from signoff.stores import SQLiteStore


class ContentApproval(Flow, name="demo.content_approval"):
    """Write a text, let the brand team look at it, and publish what they approved."""

    @start()
    def draft(self) -> str:
        """Stand in for an agent that writes."""
        return "Spring sale: everything 20 % off until Sunday."

    @listen(draft)
    @human_feedback(
        message="Shall we publish this?",
        emit=["approved", "rejected", "needs_revision"],
        assign_to_email="brand@acme.example",
    )
    def review(self, copy: str) -> str:
        """Ask about the text."""
        return copy

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Do what was approved."""
        return f"published: {result.output} (approved by {result.reviewer}: {result.feedback})"

    @listen("rejected")
    def bin_it(self, result: HumanFeedbackResult) -> str:
        """Do nothing more."""
        return f"not published: {result.feedback}"

    @listen("needs_revision")
    def revise(self, result: HumanFeedbackResult) -> str:
        """Stand in for another round."""
        return f"to be revised: {result.feedback}"


def make_client() -> Client:
    """Put the client together from what the demo's environment says."""
    host = os.environ["DEMO_HOST"]
    return Client(
        store=SQLiteStore(os.environ["DEMO_DATABASE"]),
        notifiers=[
            SMTPNotifier(
                host,
                int(os.environ["DEMO_SMTP_PORT"]),
                sender="Acme approvals <approvals@acme.example>",
                reply_to="approvals@acme.example",
                tls="none",  # allowed on loopback only
            )
        ],
        inbox=IMAPInbox(
            host,
            int(os.environ["DEMO_IMAP_PORT"]),
            username="approvals",
            password=os.environ["DEMO_PASSWORD"],
            tls="none",  # allowed on loopback only
        ),
    )
