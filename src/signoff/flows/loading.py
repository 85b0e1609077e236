"""Finding a stored run's code, and bringing it to where the run stands (floor 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from signoff.errors import CodecError, KeyringError, SealInvalidError
from signoff.flows.code import CallCode, Code, FlowCode, feedback_result, output_value, routed
from signoff.flows.drafts import hidden_place
from signoff.flows.flow import Flow, loaded_model
from signoff.flows.migrating import load_state, take_present_names
from signoff.flows.session import Blocked, Session, Workshop
from signoff.flows.signals import distrusted
from signoff.gates import gate_specs
from signoff.model.feedback import HumanFeedbackResult
from signoff.model.gate import GateCall
from signoff.model.run import Run
from signoff.model.values import Tree
from signoff.registry import flow_classes
from signoff.security.hidden import decrypt

MAX_DEATHS: Final = 10
"""How often in a row a claim on a run may end without a commit before the run is set aside."""

SUSPECT_DEATHS: Final = MAX_DEATHS // 2
"""From how many such ends on a run is driven only while no other suspect is."""

Results = dict[str, HumanFeedbackResult]
"""What a run's gates came to, by occurrence."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """
    A run's code where the run stands.

    Attributes:
        code: The code.
        results: What the run's gates came to, by occurrence.
    """

    code: Code
    results: Results


def code_of(run: Run, shop: Workshop) -> Code | Blocked:
    """Return the code of a run, or why this process has none for it."""
    return _call_code(run, shop) if run.kind == "call" else _flow_code(run)


async def prepare(session: Session, code: Code) -> Prepared | Blocked:
    """Bring a run's code to where the run stands, or say why it cannot go on with this code."""
    problem = _deaths(session)
    if problem is not None:
        return problem
    take_present_names(session, code)
    problem = _missing_steps(session, code)
    if problem is not None:
        return problem
    try:
        if isinstance(code, FlowCode):
            problem = load_state(session, code)
            if problem is not None:
                return problem
            # Written with whatever is written next.
            if session.run.fingerprint != code.fingerprint:
                changed = {"fingerprint": code.fingerprint}
                session.run = session.run.model_copy(update=changed)
        return Prepared(code, await _rehydrated(session, code))
    except CodecError as error:
        return Blocked(reason="state_invalid", detail=str(error))
    except SealInvalidError as error:
        return distrusted(error)


def last_sign(session: Session) -> int:
    """Return the number of the last claim on a run that did not end without a trace."""
    # To start a body is a commit too, though not one of the run's own record.
    started = [call.fencing for one in session.journal.values() for call in one.calls]
    return max([session.run.fencing, *started])


def _deaths(session: Session) -> Blocked | None:
    deaths = session.held.fencing - last_sign(session) - 1
    if deaths < MAX_DEATHS:
        return None
    detail = f"{deaths} workers in a row ended while they had this run"
    return Blocked(reason="poison", detail=detail)


def _missing_steps(session: Session, code: Code) -> Blocked | None:
    steps = code.graph.steps
    gone = sorted({one.step for one in session.journal.values()} - set(steps))
    if not gone:
        return None
    return Blocked(
        reason="code_missing",
        detail=f"{session.run.flow_name} has no step {', '.join(map(repr, gone))} any more;"
        f" it has {', '.join(steps)}. Where one of these took its place, say so with aliases=",
    )


async def _rehydrated(session: Session, code: Code) -> Results:
    results: Results = {}
    finished = [one for one in session.journal.values() if one.status == "finished"]
    for one in sorted(finished, key=lambda each: each.finished_seq):
        if one.request_id:
            # What a gate routes is never read from the checkpoint, only from the sealed answer.
            request = session.requests.get(one.request_id)
            if request is None:
                request = await session.shop.desk.load(one.request_id)
            result = feedback_result(request, session.shop.codec, step=one.step)
            if routed(result, router=code.graph.steps[one.step].router) != one.label:
                raise SealInvalidError(one.occurrence_id, "label")
            results[one.occurrence_id] = result
        result_of_gate = results.get(one.occurrence_id)
        code.note_output(output_value(one, result_of_gate, session.shop.codec), result_of_gate)
    return results


def _flow_code(run: Run) -> Code | Blocked:
    kind = cast("type[Flow[object]] | None", flow_classes.get(run.flow_name))
    if kind is None:
        return Blocked(reason="code_missing", detail=f"no flow is named {run.flow_name!r} here")
    model = loaded_model(run.state_type) if run.state_type else None
    if run.state_type and model is None:
        return Blocked(
            reason="state_invalid",
            detail=f"its state is a {run.state_type}, which is not loaded here; import it where"
            " the flow is",
        )
    try:
        return FlowCode(kind(), model=model)
    except Exception as error:  # noqa: BLE001 - a user's constructor may raise anything
        return Blocked(reason="code_missing", detail=f"{run.flow_name}() cannot be made: {error!r}")


def _call_code(run: Run, shop: Workshop) -> Code | Blocked:
    spec = gate_specs.get(run.flow_name)
    if spec is None:
        return Blocked(reason="code_missing", detail=f"no gate is named {run.flow_name!r} here")
    codec = shop.codec
    try:
        visible = codec.from_tree(run.state["arguments"], path=spec.name)
        hidden = {
            name: codec.load(
                decrypt(shop.keyring, str(text), place=hidden_place(run.run_id, name)).decode(),
                path=name,
            )
            for name, text in cast("dict[str, Tree]", run.state["hidden"]).items()
        }
    except (CodecError, KeyError, KeyringError, SealInvalidError) as error:
        return Blocked(reason="state_invalid", detail=str(error))
    arguments = {**cast("dict[str, object]", visible), **hidden}
    return CallCode(GateCall(spec=spec, arguments=arguments, live={}), codec)
