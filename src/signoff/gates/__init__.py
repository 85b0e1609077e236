"""
Gates: where a human is needed (floor 6).

`feedback` and `approval` hold the two decorators. A function under `require_approval` is checked
and named in `declaring`, its call bound in `binding` and made in `calling`; `in_steps` holds what
a step calls besides, and `policies` what options come to.
"""

from __future__ import annotations

from signoff.gates.approval import Gate, ReturningGate, require_approval
from signoff.gates.binding import bind, bind_to
from signoff.gates.calling import keyed, refuse_unstorable
from signoff.gates.declaring import (
    GateOptions,
    gate_of,
    gate_specs,
    registered_hints,
)
from signoff.gates.feedback import FeedbackGate, feedback_of, human_feedback, refuse_no_method
from signoff.gates.in_steps import once, together
from signoff.gates.policies import refuse_bad_policy, refuse_critical

__all__ = [
    "FeedbackGate",
    "Gate",
    "GateOptions",
    "ReturningGate",
    "bind",
    "bind_to",
    "feedback_of",
    "gate_of",
    "gate_specs",
    "human_feedback",
    "keyed",
    "once",
    "refuse_bad_policy",
    "refuse_critical",
    "refuse_no_method",
    "refuse_unstorable",
    "registered_hints",
    "require_approval",
    "together",
]
