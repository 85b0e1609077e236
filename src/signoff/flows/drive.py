"""Driving one run under its claim: which steps run, and what becomes of them (floor 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled, current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from signoff.bell import soon
from signoff.context import Suspend, within
from signoff.errors import (
    ApprovalCancelled,
    CodecError,
    ConfigurationError,
    RequestExpired,
    SealInvalidError,
    StoreError,
)
from signoff.flows.attempt import Attempt, Children
from signoff.flows.code import (
    Code,
    assignee_in_state,
    feedback_result,
    label_of,
    output_value,
    routed,
)
from signoff.flows.drafts import feedback_request
from signoff.flows.endings import Ending, Plan, check_identity, is_answered, marks
from signoff.flows.recorder import Recorder
from signoff.flows.session import Blocked, Lost, Session
from signoff.flows.signals import Told, distrusted
from signoff.flows.tracking import Touches
from signoff.model.decision import Resolution
from signoff.model.feedback import HumanFeedbackResult
from signoff.model.gate import FeedbackSpec
from signoff.model.request import Request
from signoff.model.run import TERMINAL, Occurrence
from signoff.model.values import Tree
from signoff.rules import dispatch
from signoff.rules.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd:
    """
    How an attempt ended: it returned, raised, found the run blocked, or is suspended.

    Attributes:
        touches: What it touched of the state.
        value: What the step returned.
        returned: Whether it did.
        error: What it raised.
        blocked: Why the run needs a person.
        again: Whether to run it once more at once, because it put off a question.
        fatal: What ends the whole drive.
    """

    touches: Touches
    value: object = None
    returned: bool = False
    error: Exception | None = None
    blocked: Blocked | None = None
    again: bool = False
    fatal: Exception | None = None


async def set_aside(session: Session, problem: Blocked) -> None:
    """Give a run back that cannot go on as things stand: blocked, or ended if it was told to end."""
    told = Told(session)
    recorder = Recorder(session, told, Plan(graph=Graph({}), limit=0))
    await told.begin()
    while not session.released:
        tried_in_vain, told.retry, told.blocked = told.retry, False, problem
        if told.cancelled:
            await recorder.cancelled()
        elif tried_in_vain:
            await recorder.blocked()
        else:
            await recorder.rest()


@dataclass(slots=True, eq=False)
class Drive:
    """
    The loop over one run.

    Attributes:
        session: The run.
        code: Its code.
        children: Runs child flows.
        results: What its gates came to, by occurrence.
    """

    session: Session
    code: Code
    children: Children
    results: dict[str, HumanFeedbackResult] = field(default_factory=dict[str, HumanFeedbackResult])
    _lenient: set[str] = field(default_factory=set[str])
    _fatal: Exception | None = None
    _event_loop: object = field(default_factory=lambda: current_token().native_token)
    _told: Told = field(init=False)
    _recorder: Recorder = field(init=False)
    _send: MemoryObjectSendStream[tuple[str, StepEnd] | None] = field(init=False)
    _receive: MemoryObjectReceiveStream[tuple[str, StepEnd] | None] = field(init=False)

    def __post_init__(self) -> None:
        """Connect the parts."""
        self._told = Told(self.session)
        plan = Plan(graph=self.code.graph, limit=self.code.max_method_calls)
        self._recorder = Recorder(self.session, self._told, plan)
        self._send, self._receive = anyio.create_memory_object_stream[tuple[str, StepEnd] | None](
            math.inf
        )

    def poke(self) -> None:
        """Say that the run may have been told something. Call it on any event loop."""
        if current_token().native_token is self._event_loop:
            self._send.send_nowait(None)
        else:
            with suppress(RuntimeError):  # of a loop that has ended, and the drive with it
                soon(self._event_loop, self._poked_from_elsewhere)

    def _poked_from_elsewhere(self) -> None:
        with suppress(anyio.ClosedResourceError):  # of a drive that has ended meanwhile
            self._send.send_nowait(None)

    async def run(self) -> None:
        """
        Run steps until none can run, then give the run back.

        Raises:
            Lost: Another holder has the run; nothing was written since.
            StoreError: The store failed; the run is as it was last committed.
        """
        with self._send, self._receive:
            await self._told.begin()
            async with anyio.create_task_group() as tasks:
                try:
                    await self._loop(tasks)
                except Exception as error:  # noqa: BLE001 - raised below, outside the group
                    self._fatal = error
                if self._recorder.running:
                    tasks.cancel_scope.cancel()
            if self._fatal is not None:
                raise self._fatal
            if self._told.cancelled:
                await self._recorder.cancelled()

    async def _loop(self, tasks: TaskGroup) -> None:
        while not (self.session.released or self._told.cancelled):
            if self._told.retry:
                await self._recorder.renewed()
            elif not await self._begin_what_can(tasks):
                if self._recorder.running:
                    await self._hear()
                else:
                    await self._recorder.rest()

    async def _hear(self) -> None:
        told: tuple[str, StepEnd] | None = None
        # Listening from time to time: what another process says, a cancel say, pokes nobody here.
        with anyio.move_on_after(self.session.shop.keeper.lease.total_seconds() / 3):
            told = await self._receive.receive()
        if self.session.held.lost:
            raise Lost
        if told is None:
            await self._told.listen()
        else:
            await self._end(*told)

    # Beginning.

    @property
    def _frozen(self) -> bool:
        """Whether nothing new may begin; what runs already may end."""
        return (
            self._told.blocked is not None
            or self.session.run.status in TERMINAL
            or any(one.live and one.status == "failed" for one in self.session.journal.values())
        )

    async def _begin_what_can(self, tasks: TaskGroup) -> bool:
        """Begin every step that can run, and say whether there was one."""
        if self._frozen:
            return False
        journal, running = self.session.journal, self._recorder.running
        fresh = dispatch.runnable(self.code.graph, marks(journal, running))
        asked = [name for name in self._told.go_on(journal) if name not in running]
        gates = [name for name in asked if journal[name].request_id]
        for name in (*fresh, *(name for name in asked if name not in gates)):
            self._told.forget(name)
            running.add(name)
            tasks.start_soon(self._attempt, name, tasks)
        for name in gates:
            # One by one: while there is an answer left, the run does not rest.
            self._told.forget(name)
            if journal[name].live:
                await self._take_resolution(name)
        return bool(fresh or asked)

    async def _attempt(self, occurrence_id: str, tasks: TaskGroup) -> None:
        self._send.send_nowait((occurrence_id, await self._attempted(occurrence_id, tasks)))

    async def _attempted(self, occurrence_id: str, tasks: TaskGroup) -> StepEnd:
        one = self.session.journal[occurrence_id]
        touches = self.code.box.begin_attempt()
        value: object = None
        error: BaseException | None = None
        attempt = Attempt(
            session=self.session,
            occurrence_id=occurrence_id,
            tasks=tasks,
            children=self.children,
            lenient=occurrence_id in self._lenient,
        )
        try:
            with touches.noted(), within(attempt):
                value = await self.code.run_step(attempt, one.step, self._arguments(one))
        except (KeyboardInterrupt, SystemExit) as stop:
            # Bare, it would stop asyncio's loop before anything here could be tidied up.
            raise BaseExceptionGroup(f"step {one.step!r} stops everything", [stop]) from None
        except anyio.get_cancelled_exc_class() as cancelled:
            await checkpoint_if_cancelled()
            # Not this step was cancelled, but something that it waited for.
            error = RuntimeError(f"step {one.step!r} waited for a task that was cancelled")
            error.__cause__ = cancelled
        except BaseException as raised:  # noqa: BLE001 - it is what the step came to
            error = raised
        await attempt.end()
        return await _judged(attempt, touches, value=value, error=error)

    def _arguments(self, one: Occurrence) -> tuple[object, ...]:
        """Return what a step is given: nothing at the start of a run, else one argument."""
        cause = dispatch.argument_of(
            [dispatch.Cause(each.trigger, each.occurrence_id) for each in one.causes]
        )
        if cause is None:
            return ()
        source = self.session.journal[cause.occurrence]
        if cause.trigger == source.step:
            return (self.output_of(source),)
        return (self.results.get(cause.occurrence) or source.label,)

    def output_of(self, one: Occurrence) -> object:
        """Return what a finished occurrence gives to listeners and callers."""
        return output_value(one, self.results.get(one.occurrence_id), self.session.shop.codec)

    # Ending.

    async def _end(self, occurrence_id: str, end: StepEnd) -> None:
        if end.fatal is not None:
            raise end.fatal
        self._recorder.running.discard(occurrence_id)
        one = self.session.journal[occurrence_id]
        if one.live and end.returned:
            await self._returned(one, end)
            return
        self.code.box.settle(end.touches, keep=False)
        if not one.live:
            return
        if end.again:
            self._lenient.add(occurrence_id)
            self._told.look_again([occurrence_id])
        elif end.error is not None:
            await self._recorder.failed(occurrence_id, end.error)
        else:
            if end.blocked is not None:
                self._told.block(end.blocked, occurrence_id)
            await self._recorder.suspended(occurrence_id)

    async def _returned(self, one: Occurrence, end: StepEnd) -> None:
        box, codec = self.code.box, self.session.shop.codec
        spec = self.code.feedback(one.step)
        value = end.value
        draft: Request | None = None
        tree: Tree = None
        try:
            state = box.dump(finishing=end.touches)
            if spec is not None:
                draft = await self._question(one, spec, value, state=state)
            else:
                tree = codec.to_tree(value, path=f"{one.step} output")
        except (CodecError, ConfigurationError) as error:
            box.settle(end.touches, keep=False)
            await self._recorder.failed(one.occurrence_id, error)
            return
        box.settle(end.touches, keep=True)
        if draft is not None:
            await self._recorder.asked(one.occurrence_id, draft, state=state)
        else:
            label = label_of(value) if self.code.graph.steps[one.step].router else None
            await self._finish(
                Ending(occurrence_id=one.occurrence_id, output=tree, label=label, state=state)
            )

    async def _question(
        self, one: Occurrence, spec: FeedbackSpec, value: object, *, state: Mapping[str, Tree]
    ) -> Request:
        """Return the draft that asks a human about what a step returned."""
        session = self.session
        return feedback_request(
            spec,
            value,
            run=session.run,
            method_name=one.step,
            chosen=assignee_in_state(spec, state),
            policy=session.policy,
            now=await session.now(),
            codec=session.shop.codec,
        )

    async def _take_resolution(self, occurrence_id: str) -> None:
        """Go on from a gate with what its request came to."""
        session = self.session
        one = session.journal[occurrence_id]
        try:
            request = await session.shop.desk.load(one.request_id)
            check_identity(one, request, former_names=self.code.former_names)
            end = request.resolution
            if end is None:
                return
            if not is_answered(request):
                await self._recorder.failed(occurrence_id, _unanswered(one.run_id, request, end))
                return
            result = feedback_result(request, session.shop.codec, step=one.step)
        except SealInvalidError as error:
            self._told.blocked = distrusted(error)
            return
        except CodecError as error:
            self._told.blocked = Blocked(reason="state_invalid", detail=str(error))
            return
        self.results[occurrence_id] = result
        label = routed(result, router=self.code.graph.steps[one.step].router)
        await self._finish(Ending(occurrence_id=occurrence_id, label=label))

    async def _finish(self, ending: Ending) -> None:
        one = self.session.journal[ending.occurrence_id]
        ended = one.model_copy(update={"output": ending.output})
        self.code.note_output(self.output_of(ended), self.results.get(ending.occurrence_id))
        await self._recorder.finished(ending)


async def _judged(
    attempt: Attempt, touches: Touches, *, value: object, error: BaseException | None
) -> StepEnd:
    if attempt.suspended and not _is_suspension(error):
        attempt.note_swallowed()
    if attempt.lost or attempt.broken is not None:
        return StepEnd(touches=touches, fatal=attempt.broken or Lost())
    if attempt.blocked is not None:
        return StepEnd(touches=touches, blocked=attempt.blocked)
    missed = attempt.unmet() and (attempt.deferred or not attempt.suspended)
    if attempt.suspended and not missed:
        return StepEnd(touches=touches, again=attempt.deferred)
    if isinstance(error, Exception):
        return StepEnd(touches=touches, error=error)
    if error is not None and not attempt.suspended:
        raise error
    if missed:
        return await _drifted(attempt, touches)
    return StepEnd(touches=touches, value=value, returned=True)


async def _drifted(attempt: Attempt, touches: Touches) -> StepEnd:
    try:
        return StepEnd(touches=touches, blocked=await attempt.missed())
    except SealInvalidError as error:
        return StepEnd(touches=touches, blocked=distrusted(error))
    except StoreError as error:
        return StepEnd(touches=touches, fatal=error)


def _is_suspension(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.subgroup(Suspend) is not None
    return isinstance(error, Suspend)


def _unanswered(run_id: str, request: Request, end: Resolution) -> Exception:
    if end.status == "expired":
        return RequestExpired(run_id, request_id=request.request_id)
    return ApprovalCancelled(request.request_id, reason=end.reason)
