"""
A flow whose draft a person approves, rejects or sends back, as CrewAI's users know it.

Run it with `python examples/content_approval.py`. The answers come through the application here;
`examples/reply_by_mail.py` shows them coming by mail.
"""

import anyio

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start


class ContentApprovalFlow(Flow, name="examples.content_approval"):
    """Generate, review, and act on the answer."""

    @start()
    def generate_content(self) -> str:
        """Stand in for an agent that writes."""
        return "Spring sale: everything 20 % off until Sunday."

    @listen(generate_content)
    @human_feedback(
        message="Please review this content",
        emit=["approved", "rejected", "needs_revision"],
    )
    def review_content(self, content: str) -> str:
        """Ask about the content."""
        return content

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> None:
        """Do what was approved."""
        print(f"published; the reviewer said: {result.feedback}")

    @listen("rejected")
    def archive(self, result: HumanFeedbackResult) -> None:
        """Do nothing more."""
        print(f"archived; the reviewer said: {result.feedback}")

    @listen("needs_revision")
    def revise(self, result: HumanFeedbackResult) -> None:
        """Stand in for another round."""
        print(f"to be revised; the reviewer said: {result.feedback}")


async def main() -> None:
    """Start three runs and give each another answer."""
    async with Client() as client:
        for _ in range(3):
            await client.flows.start(ContentApprovalFlow)
        await client.drain()

        pending = await client.hitl.list_requests(status="pending", limit=25)
        for req in pending:
            print(f"{req.policy_name}: {req.query[:80]}")

        first, second, third = (req.request_id for req in pending)
        await client.hitl.approve(request_id=first, reason="Reviewed and safe")
        await client.drain()
        await client.hitl.reject(request_id=second, reason="Contains prohibited content")
        await client.drain()
        await client.hitl.respond(request_id=third, outcome="needs revision", feedback="Shorter")
        await client.drain()

        stats = await client.hitl.get_stats()
        print(f"{stats.approved} approved, {stats.rejected} rejected, {stats.answered} answered")


anyio.run(main)

# Output:
# review_content: Spring sale: everything 20 % off until Sunday.
# review_content: Spring sale: everything 20 % off until Sunday.
# review_content: Spring sale: everything 20 % off until Sunday.
# published; the reviewer said: Reviewed and safe
# archived; the reviewer said: Contains prohibited content
# to be revised; the reviewer said: Shorter
# 1 approved, 1 rejected, 1 answered
