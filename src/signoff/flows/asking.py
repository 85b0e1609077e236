"""What a gated call meets before its body may run: its journaled self, or a new question (floor 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import anyio

from signoff.errors import SealInvalidError
from signoff.flows.calls import WAITS, Answer, Calls, Plan, Settled, Waits, call_key
from signoff.flows.drafts import call_digest, call_request, encrypted_arguments, shown_arguments
from signoff.flows.failures import raised_again
from signoff.flows.in_doubt import in_doubt
from signoff.flows.performing import result_of
from signoff.flows.permits import decided, request_of
from signoff.flows.session import Blocked
from signoff.model.gate import GateCall
from signoff.model.request import CallIdentity
from signoff.model.run import Call
from signoff.rules.lifecycle import Cancel
from signoff.security.hidden import kid_of

MAX_DRIFTS: Final = 3
"""How often a call is asked anew because a replay came with other arguments."""

_STANDING: Final = {"started": " (begun, its end unknown)", "done": " (done)"}


@dataclass(slots=True, eq=False)
class Asking:
    """
    Answers the gated calls of one attempt, one look at a time.

    Attributes:
        calls: The journaled calls.
        lenient: Whether new questions are asked although journaled calls were not met yet,
            because an earlier attempt has met them later.
        deferred: The first call that was not asked about, because others were not met yet.
    """

    calls: Calls
    lenient: bool = False
    deferred: str = ""
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def answers(self, calls: Sequence[GateCall]) -> list[Answer]:
        """
        Return what calls have come to; what is new is asked, in one commit.

        Raises:
            CodecError: An argument cannot be stored. Nothing is asked.
            ConfigurationError: An option came out wrong, or nobody may be asked; as above.
        """
        async with self._turn:
            plan = Plan()
            answers = [await self._answer(call, plan) for call in calls]
            if plan.calls:
                await self.calls.write(plan)
            return answers

    async def missed(self) -> Blocked:
        """Say what the step was to call and did not, and what it did instead."""
        expected: list[str] = []
        for each in self.calls.unmet():
            asked = ""
            if each.request_id:
                request = await self.calls.session.shop.desk.load(each.request_id)
                asked = f" with {request.payload_json}"
            expected.append(f"{each.name}{asked}{_STANDING.get(each.status, '')}")
        instead = f"called {self.deferred}" if self.deferred else "ended without it"
        return Blocked(
            reason="drift",
            detail=f"the step had called {' and '.join(expected)}, and its replay {instead}",
        )

    async def _answer(self, call: GateCall, plan: Plan) -> Answer:
        try:
            found, payload_json = self._find(call)
            if found is None:
                return await self._new(call, payload_json, plan)
            self.calls.met.add(call_key(found))
            return await self._known(call, found, payload_json, plan)
        except SealInvalidError as error:
            return self.calls.block("seal_invalid", f"{error.record_id}: {error.field}")

    def _find(self, call: GateCall) -> tuple[Call | None, str]:
        """Return the journaled call that this one is, and this one's payload."""
        # Commitments hang on a key, so what was asked before a rotation has another digest.
        kids = self._commitment_kids()
        payloads = [self._payload(call, kid) for kid in (kids if call.spec.hidden else kids[:1])]
        for payload_json in payloads:
            digest = call_digest(payload_json)
            for name in (call.spec.name, *call.spec.aliases):
                _, _, _, nth = self.calls.next_key("gate", call.spec.name, digest)
                found = self.calls.find(("gate", name, digest, nth))
                if found is not None:
                    self.calls.count("gate", call.spec.name, digest)
                    return found, payload_json
        return None, payloads[0]

    def _commitment_kids(self) -> list[int]:
        keyring = self.calls.session.shop.keyring
        return [key.kid for key in keyring.keys if keyring.usable(key.kid, "commitment")]

    def _hidden_kids(self, call: GateCall, payload_json: str) -> tuple[int, ...]:
        """Return the keys that the hidden arguments of a call hang on, as shown and as stored."""
        if not call.spec.hidden:
            return ()
        session = self.calls.session
        kids = {
            session.shop.keyring.active_kid,
            *(kid for kid in self._commitment_kids() if self._payload(call, kid) == payload_json),
        }
        if session.run.kind == "call":
            # Stored with the call, perhaps long before anybody was asked.
            stored = cast("dict[str, str]", session.run.state.get("hidden", {}))
            kids |= {kid_of(text) for text in stored.values()}
        return tuple(sorted(kids))

    def _payload(self, call: GateCall, kid: int) -> str:
        shown = shown_arguments(
            call,
            keyring=self.calls.session.shop.keyring,
            kid=kid,
            run_id=self.calls.run_id,
            codec=self.calls.codec,
        )
        return self.calls.codec.dump(shown, path=call.spec.name)

    async def _new(self, call: GateCall, payload_json: str, plan: Plan) -> Answer:
        spec = call.spec
        unmet = () if self.lenient else self.calls.unmet()
        if not self.calls.occurrence.live:
            return WAITS
        same_gate = [each for each in unmet if each.name in {spec.name, *spec.aliases}]
        if same_gate and spec.on_drift != "block":
            return await self._drifted(call, payload_json, same_gate[0], plan)
        if unmet:
            return self.put_off(f"{spec.name} with {payload_json}")
        return await self._ask(call, payload_json, plan)

    def put_off(self, what: str) -> Waits:
        """
        Leave a new call alone while journaled ones are not met.

        Perhaps a sibling task comes to those yet. If not, the replay has drifted.
        """
        self.deferred = self.deferred or what
        return WAITS

    async def _ask(
        self, call: GateCall, payload_json: str, plan: Plan, *, drifts: int = 0, note: str = ""
    ) -> Waits:
        name, digest = call.spec.name, call_digest(payload_json)
        _, _, _, nth = key = self.calls.next_key("gate", name, digest)
        identity = CallIdentity(
            occurrence_id=self.calls.occurrence_id, gate=name, digest=digest, nth=nth
        )
        opened = await self._opened(call, payload_json, identity, plan, note=note)
        plan.calls.append(opened.model_copy(update={"drifts": drifts}))
        self.calls.count("gate", name, digest)
        self.calls.met.add(key)
        return WAITS

    async def _opened(
        self,
        call: GateCall,
        payload_json: str,
        identity: CallIdentity,
        plan: Plan,
        *,
        note: str,
    ) -> Call:
        session = self.calls.session
        draft = call_request(
            call,
            run=session.run,
            identity=identity,
            payload_json=payload_json,
            hidden_kids=self._hidden_kids(call, payload_json),
            policy=session.policy,
            now=await session.now(),
            note=note,
        )
        hidden = encrypted_arguments(
            call, keyring=session.shop.keyring, run_id=self.calls.run_id, codec=self.calls.codec
        )
        plan.parts.append(session.shop.desk.open(draft, actor=session.run.requester or "flow"))
        return Call(
            kind="gate",
            name=identity.gate,
            digest=identity.digest,
            nth=identity.nth,
            attempt=identity.attempt,
            request_id=draft.request_id,
            hidden=hidden,
        )

    async def _drifted(self, call: GateCall, payload_json: str, old: Call, plan: Plan) -> Answer:
        """Deal with a replay that calls with other arguments than `old`."""
        if call.spec.on_drift == "use_approved" or old.status == "started":
            # What may have happened is settled first, whatever the arguments are by now.
            self.calls.met.add(call_key(old))
            return await self._known(call, old, payload_json, plan)
        if old.drifts == MAX_DRIFTS:
            return self.put_off(f"{call.spec.name} with {payload_json}")
        session = self.calls.session
        request = await request_of(self.calls, old.request_id, old)
        if request.status == "pending":
            command = Cancel(by="flow", reason="superseded", channel="timer")
            plan.parts.append(
                await session.shop.desk.end(request, command, now=await session.now())
            )
        plan.dropped.append(old)
        return await self._ask(
            call, payload_json, plan, drifts=old.drifts + 1, note=_after_drift(old)
        )

    async def _known(self, call: GateCall, found: Call, payload_json: str, plan: Plan) -> Answer:
        """Return what a journaled call has come to."""
        if found.status == "done":
            return Settled(result_of(self.calls, call.spec, found.result))
        if found.failure is not None:
            error = raised_again(found.failure, run_id=self.calls.run_id, codec=self.calls.codec)
            return Settled(error=error)
        if not found.request_id:
            identity = CallIdentity(
                occurrence_id=self.calls.occurrence_id,
                gate=found.name,
                digest=found.digest,
                nth=found.nth,
                attempt=found.attempt,
            )
            note = "asked again after a failure"
            plan.calls.append(await self._opened(call, payload_json, identity, plan, note=note))
            return WAITS
        request = await request_of(self.calls, found.request_id, found)
        if found.status == "started":
            return await in_doubt(self.calls, call, found, request, plan)
        return await decided(self.calls, call, found, request)


def _after_drift(old: Call) -> str:
    if old.status == "done":
        return "asked again: it has run with other arguments before"
    return "asked again: the step came with other arguments this time"
