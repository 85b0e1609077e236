"""What the signals of one run change for the drive that holds it (floor 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from signoff.errors import SealInvalidError
from signoff.flows.session import Blocked, Session
from signoff.model.changes import Signal
from signoff.model.run import TERMINAL, Call, Occurrence

_SUBJECTS: Final[Mapping[str, str]] = {"resolved": "request_id", "child_ended": "run_id"}
"""Where a signal names what ended, by its kind."""

_ANYTHING = ""
"""In the place of what an occurrence waits for: look at it again, whatever that is."""


@dataclass(slots=True, eq=False)
class Told:
    """
    What a drive has heard, and what it has to do about it.

    Attributes:
        session: The run.
        noted: The signals that were looked at; the next commit consumes them.
        blocked: Why the run needs a person.
        cancelled: Whether it is to end.
        retry: Whether it is to be tried again.
    """

    session: Session
    noted: list[Signal] = field(default_factory=list[Signal])
    blocked: Blocked | None = None
    cancelled: bool = False
    retry: bool = False
    _news: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    async def begin(self) -> None:
        """Take up where the last drive of the run left off, which may have ended in the middle."""
        run = self.session.run
        if run.blocked_reason is not None:
            self.blocked = Blocked(reason=run.blocked_reason, detail=run.blocked_detail)
        if run.status in {"ready", "blocked"}:
            await self._catch_up()
        self._look()
        self._take_up_what_was_cut_off()

    async def listen(self) -> None:
        """Read and take note of what the run was told since."""
        await self.session.refresh_signals()
        # Under the lock no attempt is between storing a question and knowing that it did.
        async with self.session.lock:
            self._look()

    @property
    def something_new(self) -> bool:
        """Whether there is a signal that was not looked at."""
        return any(signal not in self.noted for signal in self.session.signals)

    def block(self, problem: Blocked, occurrence_id: str) -> None:
        """Note why an attempt got no further, unless what it asks was answered before it ended."""
        if problem.reason == "in_doubt":
            asked = {call.doubt_request_id for call in self.session.journal[occurrence_id].calls}
            if any((occurrence_id, request_id) in self._news for request_id in asked):
                return
        self.blocked = self.blocked or problem

    def begin_again(self) -> None:
        """Do as a retry asks: forget what blocked the run."""
        self.retry = False
        self.blocked = None

    def go_on(self, journal: Mapping[str, Occurrence]) -> list[str]:
        """Return the suspended occurrences that have something to go on with, oldest first."""
        return [
            name
            for name, one in journal.items()
            if one.live
            and one.status == "suspended"
            and (
                # Its last call was recorded, and then the process died before the step's own end.
                not _waits_for(one)
                or any((name, each) in self._news for each in (_ANYTHING, *_waits_for(one)))
            )
        ]

    def look_again(self, names: Iterable[str]) -> None:
        """Let these occurrences go on, whatever they wait for."""
        self._news |= {(name, _ANYTHING) for name in names}

    def look_at_all(self) -> None:
        """Let every suspended occurrence go on."""
        self.look_again(one.occurrence_id for one in self._suspended())

    def forget(self, occurrence_id: str) -> None:
        """Note that an occurrence goes on."""
        self._news = {news for news in self._news if news[0] != occurrence_id}

    async def _catch_up(self) -> None:
        """Look for answers whose signal was consumed by a drive that did not get further."""
        for one in self._suspended():
            for subject in sorted(_waits_for(one)):
                if await self._has_ended(subject):
                    self._news.add((one.occurrence_id, subject))

    def _take_up_what_was_cut_off(self) -> None:
        # A run is given back only when all that it was told is consumed. So what is told about a
        # call that is recorded already was told to a drive that died between that call and the
        # step's end, and whose other news may be consumed.
        heard = {
            str(signal.facts[_SUBJECTS[signal.kind]])
            for signal in self.session.signals
            if signal.kind in _SUBJECTS
        }
        self.look_again(
            one.occurrence_id for one in self._suspended() if heard & _subjects_of(one.calls)
        )

    async def _has_ended(self, subject: str) -> bool:
        shop = self.session.shop
        if subject.startswith("run_"):
            return (await shop.store.run(subject)).record.status in TERMINAL
        try:
            return (await shop.desk.load(subject)).status != "pending"
        except SealInvalidError as error:
            self.blocked = distrusted(error)
            return False

    def _look(self) -> None:
        for signal in self.session.signals:
            if signal not in self.noted:
                self.noted.append(signal)
                self._take_note(signal)

    def _take_note(self, signal: Signal) -> None:
        status = self.session.run.status
        match signal.kind:
            case "cancel":
                self.cancelled = status not in {"completed", "cancelled"}
            case "retry":
                self.retry = status in {"blocked", "failed"}
            case "tampered":
                facts = signal.facts
                error = SealInvalidError(str(facts["request_id"]), str(facts["field"]))
                self.blocked = distrusted(error)
            case "resolved":
                self._take_answer(str(signal.facts["request_id"]))
            case "child_ended":
                self._take_news(str(signal.facts["run_id"]))
            case _:
                # A late result is read when a person is asked what became of the call.
                pass

    def _take_answer(self, request_id: str) -> None:
        self._take_news(request_id)
        doubts = {
            call.doubt_request_id for one in self.session.journal.values() for call in one.calls
        }
        if request_id in doubts and self.blocked is not None and self.blocked.reason == "in_doubt":
            self.blocked = None

    def _take_news(self, subject: str) -> None:
        # Of those that still run, too: they may be about to suspend for exactly this.
        self._news |= {
            (one.occurrence_id, subject)
            for one in self.session.journal.values()
            if subject in _waits_for(one)
        }

    def _suspended(self) -> list[Occurrence]:
        return [
            one for one in self.session.journal.values() if one.live and one.status == "suspended"
        ]


def distrusted(error: SealInvalidError) -> Blocked:
    """Return why a run stops in which something is not what was stored."""
    return Blocked(reason="seal_invalid", detail=f"{error.record_id}: {error.field}")


def _waits_for(one: Occurrence) -> set[str]:
    """Return the requests and child runs that an occurrence still has to hear of."""
    open_calls = [call for call in one.calls if call.status in {"waiting", "started"}]
    own = {one.request_id} if one.request_id else set[str]()
    return own | _subjects_of(open_calls)


def _subjects_of(calls: Iterable[Call]) -> set[str]:
    """Return the requests and child runs that calls are about."""
    subjects: set[str] = set()
    for call in calls:
        subjects |= {call.request_id, call.child_run_id, call.doubt_request_id}
    return subjects - {""}
