"""
Pictures of the mails as a reviewer sees them, for looking at; nothing compares them.

Writes one page and one picture for each mail, width and colour scheme below the folder that it
is given. Chromium has to be on the PATH.
"""

from __future__ import annotations

import email
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from html import escape
from pathlib import Path
from typing import Final

from signoff.mail.compose import compose
from signoff.mail.refusals import refusal_note
from signoff.model.decision import Resolution
from signoff.model.delivery import Delivery, DeliveryKind
from signoff.model.request import Evidence, Request
from signoff.model.values import Tree
from signoff.ports import Outgoing
from signoff.rules.outcomes import choices

NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
WIDTHS: Final = (390, 640)
NARROWEST: Final = 500
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

PAYMENT: Final[Tree] = {
    "vendor": "Nordwind Logistics GmbH",
    "amount": {"$": "decimal", "v": "48250.00"},
    "currency": "EUR",
    "invoice": "INV-2026-0117",
    "due": {"$": "date", "v": "2026-03-15"},
    "urgent": False,
    "memo": "Freight for January and February.\nSplit as agreed:\n  24,000 January\n  24,250 February",
}
EVIDENCE: Final = (
    Evidence(label="Purchase order", value="PO-8841 matches vendor and amount", tone="emerald"),
    Evidence(label="Budget left", value="12 % of the quarter", tone="amber"),
    Evidence(label="Bank account", value="changed 3 days ago", tone="red"),
    Evidence(label="Last payment", value="2026-01-14, 46,900.00 EUR", tone="slate"),
    Evidence(label="Contract", value="runs until 2027-06-30", tone="blue"),
)


def a_request(payload: Tree, **changes: object) -> Request:
    """Return a request about a payload."""
    text = json.dumps(payload)
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    values = {
        "request_id": "req_01jnb4m2q8e7x3k5",
        "run_id": "run_01jnb4m1",
        "kind": "call",
        "flow_name": "billing:PayInvoices",
        "method_name": "pay",
        "message": "Pay 48250.00 to Nordwind Logistics GmbH",
        "choices": choices(["approved", "rejected"]),
        "assignees": ("cfo@acme.example", "controller@acme.example"),
        "requester": "invoice-agent@acme.example",
        "payload_json": text,
        "payload_digest": digest,
        "proposed_digest": digest,
        "created_at": NOW,
        "due_at": NOW + timedelta(hours=4),
        "expires_at": NOW + timedelta(days=7),
        **changes,
    }
    return Request.model_validate(values)


def an_end(status: str, outcome: str, feedback: str = "", *, hours: int = 1) -> Resolution:
    """Return how a request ended."""
    return Resolution.model_validate(
        {
            "status": status,
            "outcome": outcome,
            "feedback": feedback,
            "reviewer": "cfo@acme.example",
            "channel": "email",
            "resolved_at": NOW + timedelta(hours=hours),
            "payload_digest": "",
        }
    )


def html_of(
    request: Request,
    *,
    kind: DeliveryKind = "request",
    note: dict[str, Tree] | None = None,
    earlier: tuple[Request, ...] = (),
) -> str:
    """Return the HTML of a mail."""
    delivery = Delivery(
        delivery_id="dlv_1",
        kind=kind,
        request_id=request.request_id,
        recipient="cfo@acme.example",
        notifier="email",
        note=note or {},
        not_before=NOW,
        created_at=NOW,
    )
    raw = compose(
        Outgoing(delivery=delivery, request=request, token="token", earlier=earlier),
        sender="approvals@acme.example",
        sender_name="Acme approvals",
        reply_to="approvals+token@acme.example",
        message_id="<dlv_1@acme.example>",
        now=NOW,
    )
    mail = email.message_from_bytes(raw, policy=default)
    body = mail.get_body(("html",))
    if not isinstance(body, EmailMessage):
        raise TypeError("the mail has no HTML")
    return str(body.get_content())


def pages() -> dict[str, str]:
    """Return the HTML of each mail by its name."""
    payment = a_request(
        PAYMENT,
        risk="high",
        evidence=EVIDENCE,
        summary="February freight invoice of a long-standing vendor; everything matches.",
        rationale="The invoice fits purchase order and contract.\nPaying today earns 2 % discount.",
        confidence=0.93,
    )
    loop = choices(["approved", "rejected", "needs_revision"])
    first = a_request(
        "Spring is here. Buy now!",
        kind="feedback",
        choices=loop,
        message="Please review this copy",
        resolution=an_end(
            "answered", "needs_revision", "Too loud.\nNo exclamation marks.", hours=-9
        ),
    )
    second = a_request(
        "Spring is here, and so is our new collection.",
        kind="feedback",
        choices=loop,
        message="Please review this copy",
        resolution=an_end("answered", "needs_revision", "Better. Name the date.", hours=-3),
    )
    copy = a_request(
        "Spring is here, and so is our new collection.\nFrom 20 March in all shops.",
        kind="feedback",
        method_name="review",
        flow_name="marketing:Campaign",
        choices=loop,
        message="Please review this copy",
        assignees=("cfo@acme.example",),
        risk="low",
        due_at=None,
    )
    done = payment.model_copy(
        update={"status": "approved", "resolution": an_end("approved", "approved", "As ordered.")}
    )
    lines = "\n".join(
        f"{number}. Clause number {number} of the contract." for number in range(3_000)
    )
    return {
        "payment": html_of(payment),
        "copy": html_of(copy, earlier=(first, second)),
        "long": html_of(a_request({"title": "Contract", "text": lines}, risk="high")),
        "confirmation": html_of(done, kind="confirmation", note={"line": "approved"}),
        "refusal": html_of(payment, kind="refusal", note=refusal_note("unknown", line="LGTM")),
    }


class Chromium:
    """Draws pages in a frame, as its own windows are no narrower than 500 pixels."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        if found is None:
            raise SystemExit("no chromium on the PATH; as root: apt-get install chromium")
        self._program = found
        self._folder = folder

    def height(self, page: str, *, width: int) -> int:
        """Return how high a page is."""
        dom = self._run(self._framed(page, width=width, height=100), "--dump-dom")
        found = re.search(r'data-height="(\d+)"', dom)
        if found is None:
            raise RuntimeError("the page did not load")
        return int(found.group(1))

    def draw(self, page: str, picture: Path, *, width: int, height: int, dark: bool) -> None:
        """Write a picture of a page."""
        self._run(
            self._framed(page, width=width, height=height),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={max(width, NARROWEST)},{height}",
            f"--screenshot={picture}",
        )

    def _framed(self, page: str, *, width: int, height: int) -> Path:
        frame = self._folder / "frame.html"
        frame.write_text(
            f'<body style="margin:0"><iframe width="{width}" height="{height}" style="border:0"'
            ' onload="document.body.dataset.height'
            ' = this.contentDocument.documentElement.scrollHeight"'
            f' srcdoc="{escape(page)}"></iframe></body>',
            encoding="utf-8",
        )
        return frame

    def _run(self, page: Path, *flags: str) -> str:
        with tempfile.TemporaryDirectory(dir=self._folder) as profile:
            done = subprocess.run(
                [self._program, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()],
                check=True,
                capture_output=True,
                timeout=120,
                text=True,
            )
        return done.stdout


def main(folder: Path) -> None:
    """Write all pages and pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as workplace:
        chromium = Chromium(Path(workplace))
        for name, page in pages().items():
            (folder / f"{name}.html").write_text(page, encoding="utf-8")
            for width in WIDTHS:
                height = chromium.height(page, width=width)
                for scheme in ("light", "dark"):
                    picture = folder / f"{name}-{width}-{scheme}.png"
                    chromium.draw(page, picture, width=width, height=height, dark=scheme == "dark")
                    print(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
