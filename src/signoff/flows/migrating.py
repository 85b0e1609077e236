"""Bringing a run to the code of today: renamed steps, and states that were stored before (floor 6)."""

from __future__ import annotations

from collections.abc import Mapping

from signoff.errors import CodecError
from signoff.flows.code import Code, FlowCode
from signoff.flows.session import Blocked, Session
from signoff.model.run import Occurrence
from signoff.model.values import Tree, plain


def take_present_names(session: Session, code: Code) -> None:
    """Call the steps of a loaded run what its code calls them; stored with what is written next."""
    names = code.former_names
    if not names:
        return
    session.journal = {
        occurrence_id: _renamed(one, names) for occurrence_id, one in session.journal.items()
    }
    parts = {
        names.get(listener, listener): {_trigger(leaf, names): by for leaf, by in seen.items()}
        for listener, seen in session.run.parts.items()
    }
    session.run = session.run.model_copy(update={"parts": parts})


def load_state(session: Session, code: FlowCode) -> Blocked | None:
    """
    Load a run's state into its code, migrated where the class has counted its state up.

    Returns:
        Why the run cannot go on, if it cannot.

    Raises:
        CodecError: A value, a field or a type does not fit the code; it says which.
    """
    run, version = session.run, code.state_version
    if run.state_version == version:
        code.box.load(run.state)
        return None
    if run.state_version > version:
        return Blocked(
            reason="code_missing",
            detail=f"its state was stored under state_version {run.state_version}, and"
            f" {code.name} has {version} here",
        )
    try:
        values = code.migrate(_values(run.state, session), run.state_version)
        code.box.begin({}, values, id_=run.run_id)
    except Exception as error:  # noqa: BLE001 - a user's hook may raise anything
        return Blocked(
            reason="state_invalid",
            detail=f"{code.name}.migrate() from state_version {run.state_version} came to {error!r}",
        )
    changed = {"state": code.box.dump(), "state_version": version}
    session.run = run.model_copy(update=changed)
    return None


def _values(state: Mapping[str, Tree], session: Session) -> dict[str, object]:
    codec, values = session.shop.codec, dict[str, object]()
    for name, tree in state.items():
        try:
            values[name] = codec.from_tree(tree, path=f"state.{name}")
        except CodecError:
            # What a hook is for: a type that has changed, or is gone.
            values[name] = plain(tree)
    return values


def _renamed(one: Occurrence, names: Mapping[str, str]) -> Occurrence:
    causes = tuple(
        cause.model_copy(update={"trigger": _trigger(cause.trigger, names)}) for cause in one.causes
    )
    return one.model_copy(update={"step": names.get(one.step, one.step), "causes": causes})


def _trigger(trigger: str, names: Mapping[str, str]) -> str:
    """Return a trigger with its step's name of today: a step's own name, or `step:label`."""
    step, colon, label = trigger.partition(":")
    return f"{names.get(step, step)}{colon}{label}"
