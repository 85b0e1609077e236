"""Replies decided per second from a private Dovecot, and mails per second into a private Postfix."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import anyio
from anyio import to_thread
from tests.benchmarks.costs import Cost, middle, timed
from tests.mail_servers import (
    OWNER,
    SBIN,
    RealServers,
    answers,
    free_ports,
    running,
    what_is_missing,
)

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.inboxes import IMAPInbox
from signoff.notifiers import SMTPNotifier
from signoff.ports import Inbox, Notifier
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.testing import MemoryMail

APPROVALS: Final = "approvals@acme.example"
BRAND: Final = "brand@acme.example"
AT_ONCE: Final = 64
"""As many as an engine in one process sends at once; one connection takes them in turn."""

WARM_UP: Final = 8
"""So many go before, which import and connect what is imported and connected once."""

WAIT_SECONDS: Final = 30

Library = Literal["imaplib", "aioimaplib"]


class Campaign(Flow, name="bench.campaign"):
    """One question to one reviewer, and what comes of it."""

    @start()
    @human_feedback("Publish this?", emit=["approved", "rejected"], assignees=[BRAND])
    async def draft(self) -> dict[str, object]:
        """Return what is asked about."""
        return {
            "title": "Spring sale",
            "channel": "newsletter",
            "readers": 48_000,
            "text": "Spring sale: 20 % off everything, in all shops and online, until Sunday.",
        }

    @listen("approved")
    async def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return result.feedback


async def asked(client: Client, *, times: int) -> list[str]:
    """Ask so often, and return the deliveries that wait to be sent."""
    runs: list[str] = []

    async def ask(_number: int) -> None:
        run = await client.flows.start(Campaign, requester="agent-7")
        await client._machinery.executor.advance(run.run_id)
        runs.append(run.run_id)

    await timed(ask, times=times, at_once=AT_ONCE)
    waiting: list[str] = []
    for run_id in runs:
        (request,) = await client.hitl.list_requests(run_id=run_id)
        deliveries = await client.hitl.deliveries(request_id=request.request_id)
        waiting += [delivery.delivery_id for delivery in deliveries]
    return waiting


async def sent(client: Client, deliveries: list[str]) -> Cost:
    """Send all of them."""
    outbox = client._machinery.outbox

    async def send(number: int) -> None:
        await outbox.send(deliveries[number])

    cost = await timed(send, times=len(deliveries), at_once=AT_ONCE)
    assert (await client.hitl.get_stats()).deliveries == {"sent": len(deliveries)}
    return cost


def a_client(folder: Path, notifier: Notifier, inbox: Inbox) -> Client:
    """Return a client over a database of its own."""
    store = SQLiteStore(folder / f"mail-{time.monotonic_ns()}.db", synchronous="FULL")
    return Client(store, notifiers=[notifier], inbox=inbox, keyring=Keyring.generate())


# Replies.


async def replies(folder: Path, servers: RealServers, library: Library, *, times: int) -> Cost:
    """Return what it took from the first poll until every reply had decided its request."""
    account = f"{library}-{time.monotonic_ns()}@acme.example"
    mail = MemoryMail(sender=APPROVALS, trusted_server=servers.trusted)
    inbox = IMAPInbox(
        servers.host,
        servers.imaps_port,
        username=account,
        password=servers.password,
        tls_context=servers.client,
        trusted_server=servers.trusted,
        idle=library == "aioimaplib",
    )
    async with aclosing(inbox), a_client(folder, mail, inbox) as client:
        await sent(client, await asked(client, times=times))
        for one in mail.sent:
            raw = mail.reply(one, "approved\n\nFine with me, go ahead.\n\nBest regards\nAnn")
            await to_thread.run_sync(servers.deliver, raw, account)
        poller = client._machinery.poller
        assert poller is not None
        began, cpu = time.perf_counter(), time.process_time()
        await poller.poll()
        cost = Cost(times, time.perf_counter() - began, time.process_time() - cpu)
        assert (await client.hitl.get_stats()).approved == times
        return cost


# Mails.


async def mails(folder: Path, notifier: SMTPNotifier, *, times: int) -> Cost:
    """Return what it took until the server had accepted one mail for each request."""
    inbox = MemoryMail(trusted_server="mx.acme.example")
    async with a_client(folder, notifier, inbox) as client:
        return await sent(client, await asked(client, times=times))


def starttls(servers: RealServers) -> SMTPNotifier:
    """Return what sends into Postfix."""
    return SMTPNotifier(
        servers.host,
        servers.smtp_port,
        sender=f"Acme approvals <{APPROVALS}>",
        reply_to=APPROVALS,
        tls="starttls",
        tls_context=servers.client,
    )


@contextmanager
def smtp_sink() -> Generator[SMTPNotifier]:
    """Yield what sends to Postfix's smtp-sink, which takes each mail and throws it away."""
    (port,) = free_ports(1)
    user = ["-u", OWNER] if os.geteuid() == 0 else []
    sink = subprocess.Popen([str(SBIN / "smtp-sink"), *user, f"127.0.0.1:{port}", "64"])
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not answers(port):
            assert time.monotonic() < deadline, "smtp-sink does not answer"
            time.sleep(0.02)
        yield SMTPNotifier(
            "127.0.0.1",
            port,
            sender=f"Acme approvals <{APPROVALS}>",
            reply_to=APPROVALS,
            tls="none",
        )
    finally:
        sink.terminate()
        sink.wait(WAIT_SECONDS)


# The table.


def table(folder: Path, *, times: int, rounds: int) -> None:
    """Print how many a second, and what is missing here."""
    head = "| mail | of | per second | CPU ms of each |\n|---|---|---|---|\n"
    missing: list[str] = []
    for what, cost in _lines(folder, missing, times=times, rounds=rounds):
        line = f"| {what} | {cost.times:,} | {cost.rate:,.0f} | {cost.cpu_ms:.2f} |"
        print(f"{head}{line}", flush=True)
        head = ""
    if missing:
        print(f"\nNot measured: {'; '.join(missing)}.")


def _lines(
    folder: Path, missing: list[str], *, times: int, rounds: int
) -> Iterator[tuple[str, Cost]]:
    why = what_is_missing()
    if why:
        missing.append(f"replies from Dovecot and mails into Postfix ({why})")
    else:
        with running() as servers:
            yield from _with_servers(folder, servers, missing, times=times, rounds=rounds)
    if not (SBIN / "smtp-sink").exists():
        missing.append("mails to smtp-sink (not installed: postfix)")
        return
    with smtp_sink() as notifier:
        send = partial(mails, folder, notifier)
        yield "mails, smtp-sink, plain", _middle_of(send, times=times, rounds=rounds)


def _with_servers(
    folder: Path, servers: RealServers, missing: list[str], *, times: int, rounds: int
) -> Iterator[tuple[str, Cost]]:
    dovecot, postfix = _said("dovecot", "--version"), _said("postconf", "-dh", "mail_version")
    libraries: tuple[Library, ...] = ("imaplib", "aioimaplib")
    for library in libraries:
        if find_spec(library) is None:
            missing.append(f"replies by {library} (not installed: signoff[imap])")
            continue
        read = partial(replies, folder, servers, library)
        yield (
            f"replies, Dovecot {dovecot}, TLS, {library}",
            _middle_of(read, times=times, rounds=rounds),
        )
    send = partial(mails, folder, starttls(servers))
    yield f"mails, Postfix {postfix}, STARTTLS", _middle_of(send, times=times, rounds=rounds)


def _middle_of(work: Callable[..., Awaitable[Cost]], *, times: int, rounds: int) -> Cost:
    anyio.run(partial(work, times=WARM_UP))
    return middle([anyio.run(partial(work, times=times)) for _ in range(rounds)])


def _said(name: str, *arguments: str) -> str:
    """Return the first word that a server's program prints."""
    command = [str(SBIN / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
