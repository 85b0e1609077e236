"""
The four ports: what a store, a notifier, an inbox and an engine promise (floor 2).

Each method's docstring is its contract. Adapters inherit these classes explicitly, so that a
missing method fails at construction; anybody else may duck-type them. The suites in
`signoff.testing` prove an adapter.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Checkpoint, Claim, Sealed, Signal, Task
from signoff.model.delivery import Delivery
from signoff.model.policy import Risk
from signoff.model.request import Request, RequestStatus
from signoff.model.run import Occurrence, Run, RunStatus
from signoff.model.token import TokenRow


class Clock(Protocol):
    """Where business time comes from."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestQuery:
    """
    Which requests, in which order: oldest first unless `newest_first`.

    Attributes:
        status: Only with this status; `None` for all.
        run_id: Only of this run.
        assignee: Only those that this address is asked.
        risk: Only of this risk.
        after: The (created_at, request_id) that the page before ended with.
        limit: How many at the most, 1 to 200.
        newest_first: Reverse the order.
    """

    status: RequestStatus | None = None
    run_id: str | None = None
    assignee: str | None = None
    risk: Risk | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 50
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs, oldest first: by status, flow name, parent, and after a (created_at, run_id)."""

    status: RunStatus | None = None
    flow_name: str | None = None
    parent_run_id: str | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many requests and runs there are of each status, and deliveries; absent means none."""

    requests: Mapping[str, int]
    runs: Mapping[str, int]
    deliveries: Mapping[str, int]


class TaskSink(Protocol):
    """Takes the tasks that follow from a commit."""

    @abstractmethod
    def submit(self, tasks: Sequence[Task]) -> None:
        """Take over tasks whose commit is made. Never blocks, callable from any thread; repeating one is harmless."""


@runtime_checkable
class TransactionalSink(TaskSink, Protocol):
    """
    A sink that may live in a store's own database, so that tasks come into being with their commit.

    A store that knows of such sinks calls `meet` when it is given one. For each commit with
    tasks it then asks `is_within`, and where it is, calls `submit_within` in the transaction,
    after everything else was checked and written, instead of `submit` after it.
    """

    @abstractmethod
    def meet(self, address: str, schema: str) -> None:
        """
        Learn where the store is. Connects to nothing.

        Args:
            address: How its database is reached, as its driver knows it.
            schema: Which schema of it holds the tables.

        Raises:
            ConfigurationError: The sink belongs to another store.
        """

    @abstractmethod
    def is_within(self, connection: object) -> bool:
        """
        Return whether tasks are kept where a connection leads.

        Called in a thread and outside a transaction; the first call may take its time. What
        goes wrong is logged and means no.
        """

    @abstractmethod
    def submit_within(self, connection: object, tasks: Sequence[Task]) -> None:
        """
        Write tasks in the transaction that is open on a connection, and leave it open.

        A task that is there already stays as it is. Where the database refuses them the
        transaction goes on without, because a sweep finds what was lost.

        Raises:
            Exception: What the driver raised when the connection was lost, or when the
                transaction has to be made once more.
        """


class Store(Protocol):
    """
    Keeps the truth.

    May be used from several event loops and threads at once. Every read returns what the last
    finished commit wrote, or something newer; a record that some other process wrote is read
    as it was written. A reader that meets a higher `format` raises `SchemaError`; one that
    meets a typed column that contradicts its record raises `SealInvalidError` with the
    record's id and the field, but for runs and occurrences, where `Sealed.contradicts` says so.

    Attributes:
        durable: Whether what was committed survives the process.
        shared: Whether several processes may use the same data at once.
        location: Where the data is, for messages; no secrets. An absolute path if it is a file,
            which may then have a default key file.
    """

    durable: bool
    shared: bool
    location: str

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open the store, bring its schema up to date, and return it. May be entered again after it was left."""

    @abstractmethod
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what was begun and close. Idempotent."""

    @abstractmethod
    async def commit(self, changes: Changes) -> None:
        """
        Write all of `changes`, or nothing.

        Atomic and isolated: every version, claim, fence, signal, audit position and time in
        `changes` is checked in the same transaction that writes. When this returns, a
        durable store has the changes on disk. When the caller is cancelled, the commit is
        still either made whole or not at all.

        Raises:
            StaleWriteError: Something checked has moved on, with its id; nothing was written.
            StoreUnavailableError: The storage failed; nothing was acknowledged.
        """

    @abstractmethod
    def use_clock(self, clock: Clock) -> None:
        """Take business time from `clock`. A store whose server has a clock of its own refuses with `ConfigurationError`."""

    @abstractmethod
    def hand_tasks_to(self, sink: TaskSink) -> None:
        """
        Give the tasks of every later commit of this object to `sink`, after the commit is made.

        A `TransactionalSink` in the store's own database is given them within it.
        """

    @abstractmethod
    async def now(self) -> datetime:
        """Return business time: the clock that deadlines and timestamps go by, aware, in UTC."""

    @abstractmethod
    async def run(self, run_id: str) -> Sealed[Run]:
        """Return a run. Raises `NotFoundError`."""

    @abstractmethod
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        """Return the run of a keyed call, if there is one; a second one cannot be written."""

    @abstractmethod
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        """Return a page of runs."""

    @abstractmethod
    async def journal(self, run_id: str) -> Sequence[Sealed[Occurrence]]:
        """Return a run's occurrences in the order of their `seq`; empty for an unknown run."""

    @abstractmethod
    async def signals(self, run_id: str) -> Sequence[Signal]:
        """Return a run's unconsumed signals in the order they were appended."""

    async def checkpoint(self, run_id: str) -> Checkpoint:
        """
        Return all that is stored of a run, at the cost of one read where the store can do that.

        Only what its claim protects has to be of one state: whoever takes the very next claim
        after one that this returned as given back knows that the run and its journal are still
        as they were read. (One whose lease has lapsed still lets its holder write, until it is
        taken: read again after that.) So reading one after the other, the claim first, is right
        for any store, and is what this does where a store does no better.

        Raises:
            NotFoundError: There is no such run.
        """
        return Checkpoint(
            claim=await self.claim(run_id),
            run=await self.run(run_id),
            journal=await self.journal(run_id),
            signals=await self.signals(run_id),
        )

    @abstractmethod
    async def late_results(self, run_id: str) -> Sequence[Signal]:
        """Return every `late_result` signal of a run, consumed or not."""

    @abstractmethod
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        """
        Return ids of runs that somebody should advance, longest waiting first.

        These are the runs whose `flow_name` is one of `names`, that no live claim holds, and
        that are `ready`, or `running` (their holder died), or have an unconsumed signal other
        than `late_result`.
        """

    @abstractmethod
    async def unclaimed(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return how many such runs wait under other names, by name."""

    @abstractmethod
    async def request(self, request_id: str) -> Request:
        """Return a request. Raises `NotFoundError`."""

    @abstractmethod
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        """Return a page of requests, ordered by (created_at, request_id)."""

    @abstractmethod
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        """Return ids of pending requests with `expires_at <= now`, soonest first."""

    @abstractmethod
    async def token(self, token_id: str) -> TokenRow | None:
        """Return the stored half of a token, if there is one."""

    @abstractmethod
    async def tokens(self, request_id: str) -> Sequence[TokenRow]:
        """Return all tokens of a request."""

    @abstractmethod
    async def delivery(self, delivery_id: str) -> Delivery:
        """Return a delivery. Raises `NotFoundError`."""

    @abstractmethod
    async def deliveries(self, request_id: str) -> Sequence[Delivery]:
        """Return all deliveries of a request, oldest first."""

    @abstractmethod
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        """
        Return ids of deliveries to send, soonest first.

        These are the `waiting` ones with `not_before <= now`, and the `sending` ones that no
        live claim holds.
        """

    @abstractmethod
    async def oldest_unsent(self) -> Mapping[str, datetime]:
        """Return, by notifier name, when its oldest delivery that is still `waiting` or `sending` was created."""

    @abstractmethod
    async def claim(self, subject: str) -> Claim | None:
        """Return the claim on a subject, live or not, if there ever was one."""

    @abstractmethod
    async def live_claims(self, prefix: str) -> Sequence[Claim]:
        """Return the live claims on subjects that begin with `prefix`."""

    @abstractmethod
    async def audit(self, stream: str) -> Sequence[AuditEntry]:
        """Return a stream's entries, oldest first; empty for an unknown one."""

    @abstractmethod
    async def was_handled(self, key: str) -> bool:
        """Return whether an incoming message with this key was dealt with."""

    @abstractmethod
    async def mark(self, name: str) -> str | None:
        """Return the high-water mark of an inbox."""

    @abstractmethod
    async def key_checks(self) -> Mapping[int, str]:
        """Return the stored check values of keys, by key id."""

    @abstractmethod
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        """
        Return the ids of keys that something living still needs.

        That is: the tokens of pending requests whose `not_after` lies after `now`, the seals
        and hidden arguments of requests, and the MACs of checkpoints of runs that have not ended.
        """

    @abstractmethod
    async def counts(self) -> Counts:
        """Return how many there are."""


@runtime_checkable
class BringsNews(Protocol):
    """A store that hears at once of what other processes commit; others are found out by the sweep."""

    @abstractmethod
    async def bring_news(
        self, hear: Callable[[Sequence[Task]], None], *, look: Callable[[], Awaitable[None]]
    ) -> None:
        """
        Say what is to be done because of other processes' commits, until cancelled.

        Only a hint: news may be repeated, or lost. Returns at once where the store was told to
        bring none, and raises nothing for a server that is gone for a while.

        Args:
            hear: Takes tasks. Never blocks.
            look: Looks for work in the tables, as after a connection was lost.
        """


@runtime_checkable
class TakesNews(Protocol):
    """
    An engine whose tasks stay in its process, so that it has to be told of other processes' commits.

    Attributes:
        takes_news: That it is one.
    """

    takes_news: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """
    What a notifier is to send.

    Attributes:
        delivery: To whom, by whom, which message.
        request: What it is about, read just before sending, with its payload typed where possible.
        token: The token for the reply address; empty when no reply is expected.
        bounce_token: The token for the envelope's sender, by which what comes back names this
            delivery; empty when nothing shall come back.
        first_message_id: The message id of the first message to this recipient about this
            request, to thread by; empty for that first one.
        answerable: Whether an answer by this channel may decide the request.
        elsewhere: Where to answer when it may not.
        earlier: What the same gate of the run asked before and was not approved, oldest first.
    """

    delivery: Delivery
    request: Request
    token: str = ""
    bounce_token: str = ""
    first_message_id: str = ""
    answerable: bool = True
    elsewhere: str = ""
    earlier: Sequence[Request] = ()


class Notifier(Protocol):
    """
    Sends one delivery and says what became of it.

    Attributes:
        name: Unique within a client; stored with each delivery.
        expects_reply: Whether its messages carry a reply address, and so need a token.
    """

    name: str
    expects_reply: bool

    @abstractmethod
    def reaches(self, recipient: str) -> bool:
        """Return whether this notifier can address `recipient` at all."""

    @abstractmethod
    async def send(self, outgoing: Outgoing) -> str:
        """
        Send one message and return the id that the other side knows it by.

        The same delivery sent again carries the same message id. Cancelling it leaves no
        connection in an unknown state. At most one message per call.

        Raises:
            NotifyError: It was not sent, and whether trying again is pointless.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Drop connections. Idempotent; the next `send` opens one again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correspondence:
    """
    How a notifier that writes mail appears in it.

    Attributes:
        sender: The address in From.
        sender_name: The name beside it; may be empty.
        reply_to: The address that replies go to, without a token.
        separator: What parts name and token in it.
    """

    sender: str
    sender_name: str
    reply_to: str
    separator: str = "+"


@runtime_checkable
class Corresponds(Protocol):
    """A notifier whose messages are answered by mail; replies are read with its help."""

    correspondence: Correspondence


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """
    One message as it came in.

    Attributes:
        uid: Its stable id within the inbox.
        raw: Its bytes, perhaps cut at the inbox's limit.
        cut: Whether they were.
    """

    uid: str
    raw: bytes
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    Some messages, oldest first.

    Attributes:
        messages: At most a batch of them.
        mark: The high-water mark that stands once all of them are done.
        more: Whether there are further ones now.
    """

    messages: Sequence[Incoming]
    mark: str | None
    more: bool


class Inbox(Protocol):
    """
    Yields incoming messages with a stable id and is told when each is done.

    Attributes:
        name: Unique within a client; its high-water mark is stored under it.
        trusted_server: The authserv-id whose `Authentication-Results` are believed; `None`
            when there is none, the empty string for a server that writes no id.
        poll_interval_seconds: How long to wait between two polls at the most.
    """

    name: str
    trusted_server: str | None
    poll_interval_seconds: float

    @abstractmethod
    async def fetch(self, mark: str | None) -> Batch:
        """
        Return the next messages above `mark`.

        Every step has a deadline. After an error, a time-out or a cancel the connection is
        dropped, never used again. May return messages that were returned before.

        Raises:
            InboxError: The mailbox cannot be read.
        """

    @abstractmethod
    async def done(self, uids: Sequence[str]) -> None:
        """Put messages away that were handled. Idempotent. Raises `InboxError`."""

    @abstractmethod
    async def set_aside(self, uids: Sequence[str]) -> None:
        """Put messages away that could not be handled, where a person finds them. Idempotent. Raises `InboxError`."""

    @abstractmethod
    async def wait_for_news(self, seconds: float) -> None:
        """
        Return when messages may have come in since the last `fetch`, at the latest after `seconds`.

        Only a hint: it may come without need, late or never, and whatever came in is found by
        the next `fetch`. An inbox that is told nothing just waits. It takes no message away,
        and other calls at the same time need not wait for its end.

        Args:
            seconds: How long to wait at the most, in real time.

        Raises:
            InboxError: The connection broke; the next `fetch` opens one again.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Drop the connection. Idempotent; the next `fetch` opens one again."""


class Engine(TaskSink, Protocol):
    """
    Runs tasks, now or at a time.

    A task is only an id: losing or repeating one does no harm, because a sweep of the store
    finds what was lost.
    """

    @abstractmethod
    async def serve(
        self,
        handle: Callable[[Task], Awaitable[None]],
        *,
        sweep: Callable[[], Awaitable[Sequence[Task]]],
        every_seconds: float,
    ) -> None:
        """
        Run tasks until cancelled: those submitted, and those that `sweep` finds.

        `handle` raises nothing but cancellation.
        """


@runtime_checkable
class LeavesToOthers(Protocol):
    """An engine that shares its tasks with other processes, and can leave to them what it has not begun."""

    @abstractmethod
    def take_no_more(self, handle: Callable[[Task], Awaitable[None]]) -> None:
        """
        Begin no more tasks in the `serve` that was given this `handle`; go on with what is begun.

        Without such a `serve` it does nothing.
        """
