"""Going on from an answered gate in the very commit that takes the run's claim (floor 6)."""

from __future__ import annotations

from typing import cast

from signoff.errors import ConfigurationError, SealInvalidError
from signoff.flows.endings import Ending, Plan, check_identity, is_answered
from signoff.flows.flow import Flow, shape_of
from signoff.flows.recorder import Recorder
from signoff.flows.session import Session
from signoff.flows.signals import Told
from signoff.model.changes import Checkpoint
from signoff.model.request import Request
from signoff.model.run import Occurrence
from signoff.registry import flow_classes


def is_only_answered(stored: Checkpoint) -> bool:
    """Return whether a flow's run rests in good order, and was told of one answer and nothing else."""
    run, claim = stored.run.record, stored.claim
    return (
        run.kind == "flow"
        and run.status == "suspended"
        and [signal.kind for signal in stored.signals] == ["resolved"]
        and claim is not None
        and not claim.holder
        and claim.fencing == run.fencing
    )


async def go_on_from_answer(session: Session) -> None:
    """
    Take the claim on a run, and in the same commit go on from the gate that was answered.

    Nothing of a user's runs here, not even a constructor: whoever dies in that shall hold the
    claim, so that the death is counted. Where the gate does not go on as a matter of course, or
    nothing follows it, only the claim is taken, and the drive sees to the rest: a run whose
    state does not load any more shall not end as if it did.

    Raises:
        Lost: Somebody else has taken the claim.
        StoreError: The store failed.
    """
    plan = _plan(session)
    ending = await _ending(session, plan) if plan else None
    if plan is not None and ending is not None:
        told = Told(session)
        await told.begin()
        told.forget(ending.occurrence_id)
        await Recorder(session, told, plan).finished_if_that_lets_others_run(ending)
    await session.take_claim()


def _plan(session: Session) -> Plan | None:
    """Return what the run's class says, unless it has changed so that a drive has to look at it."""
    flow = cast("type[Flow[object]] | None", flow_classes.get(session.run.flow_name))
    if flow is None:
        return None
    try:
        shape = shape_of(flow)
    except (ValueError, ConfigurationError):
        return None
    steps = {one.step for one in session.journal.values()}
    if shape.former_names or not steps <= shape.graph.steps.keys():
        return None
    return Plan(graph=shape.graph, limit=flow.max_method_calls)


async def _ending(session: Session, plan: Plan) -> Ending | None:
    """Return how the answered gate ends, if it does so as a matter of course."""
    request_id = str(session.signals[0].facts["request_id"])
    answered = [
        one
        for one in session.journal.values()
        if one.live and one.status == "suspended" and one.request_id == request_id
    ]
    # None, if a call inside a step was answered: the step itself has to meet it again.
    request = await _genuine(session, answered[0]) if answered else None
    if request is None or request.resolution is None or not is_answered(request):
        return None
    label = request.resolution.outcome or None
    if label is None and plan.graph.steps[answered[0].step].router:
        return None
    return Ending(occurrence_id=answered[0].occurrence_id, label=label)


async def _genuine(session: Session, one: Occurrence) -> Request | None:
    try:
        request = await session.shop.desk.load(one.request_id)
        check_identity(one, request, former_names={})
    except SealInvalidError:
        # The drive comes upon it again, and blocks the run.
        return None
    session.requests[request.request_id] = request
    return request
