"""
A run's shared state in this process (floor 6).

All steps of a run share one state object. A step that suspends is run again from its beginning,
so what it had changed is taken back first; what its siblings changed stays. For that, each
attempt's first touch of a field keeps the value from before.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import count
from typing import cast

from pydantic import BaseModel, ValidationError

from signoff.codec import Codec
from signoff.errors import CodecError
from signoff.flows.tracking import StateDict, Touch, Touches, home_of, made_of, tracked
from signoff.flows.undo import MISSING, Missing, Value
from signoff.model.values import Tree


class StateBox:
    """
    The live state of one run in this process.

    Attributes:
        value: The state, as steps see it.
    """

    def __init__(self, codec: Codec, model: type[BaseModel] | None) -> None:
        self._codec = codec
        self._tracked = tracked(model) if model else None
        self._lock = threading.RLock()
        self._active: list[Touches] = []
        self._order = count()
        self.value: StateDict | BaseModel = StateDict()

    def prepare(self, initial: Mapping[str, object]) -> None:
        """Make the state of an instance that no run has begun yet; nothing is checked."""
        if self._tracked is None:
            self.value = StateDict({"id": "", **initial})
        else:
            self.value = made_of(self._tracked, initial)

    def begin(
        self, initial: Mapping[str, object], inputs: Mapping[str, object], *, id_: str
    ) -> None:
        """
        Make a fresh state from initial values and a run's inputs.

        Args:
            initial: What the class or instance says.
            inputs: Merged over that.
            id_: The state's `id`, unless it is given one.

        Raises:
            ValueError: An input does not fit; the message names the field.
        """
        values = {**initial, **self._by_field_name(inputs)}
        if self._tracked is None:
            values["id"] = values.get("id") or id_
            self.value = StateDict(values)
            return
        if self._tracked.model_fields["id"].is_required():
            values.setdefault("id", id_)
        try:
            state = self._tracked.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"state field {place!r}: {first['msg']}") from error
        if home_of(state, "id")["id"] in ("", None):
            home_of(state, "id")["id"] = id_
        self.value = state

    def load(self, tree: Mapping[str, Tree]) -> None:
        """
        Take the state from a checkpoint.

        Raises:
            CodecError: A value, a field or a type does not fit the code any more; it says which.
        """
        values = {name: self._loaded(name, each) for name, each in tree.items()}
        if self._tracked is None:
            self.value = StateDict(values)
            return
        for name, info in self._tracked.model_fields.items():
            if info.is_required() and name not in values:
                raise CodecError("the state has no value for it", path=f"state.{name}")
        self.value = made_of(self._tracked, values)

    def dump(self, *, finishing: Touches | None = None) -> dict[str, Tree]:
        """
        Return the state to store: without what attempts that still run have changed.

        Args:
            finishing: The attempt that has just ended well, whose changes count.

        Raises:
            CodecError: A value cannot be stored, or is not of the type that its field promises.
        """
        with self._lock:
            others = [touches for touches in self._active if touches is not finishing]
            names = dict.fromkeys(
                (*self._fields(), *(name for one in others for name in one.fields))
            )
            values = {name: self._settled(name, others) for name in names}
        return {name: value for name, value in values.items() if not isinstance(value, Missing)}

    def plain(self) -> dict[str, object]:
        """Return the fields of the live state by name."""
        return self._fields()

    def begin_attempt(self) -> Touches:
        """Return the notes of a new attempt, which `settle` is to end."""
        touches = Touches(self.value, self._touch)
        with self._lock:
            self._active.append(touches)
        return touches

    def settle(self, touches: Touches, *, keep: bool) -> None:
        """End an attempt's notes: keep what it changed, or take it back."""
        with self._lock:
            self._active.remove(touches)
            if keep:
                return
            for name, touch in touches.fields.items():
                try:
                    now = self._encoded(name)
                    settled = touch.taken_from(now)
                except CodecError:
                    # What cannot be stored is no part of any state that could be kept.
                    now, settled = Missing(), touch.before
                if settled != now:
                    self._put(name, settled)
                self._let_others_know(name, touch, settled)

    def _touch(self, touches: Touches, name: str) -> None:
        """Note that an attempt reads or writes a field."""
        with self._lock:
            others = [
                one.fields[name]
                for one in self._active
                if one is not touches and name in one.fields
            ]
            alone = [touch for touch in others if not touch.shared]
            if name in touches.fields and not alone:
                return
            now = self._encoded(name)
            for touch in alone:
                touch.shared, touch.after = True, now
            if name not in touches.fields:
                touches.fields[name] = Touch(order=next(self._order), before=now)

    def _by_field_name(self, inputs: Mapping[str, object]) -> dict[str, object]:
        fields = self._tracked.model_fields if self._tracked else {}
        names = {info.validation_alias: name for name, info in fields.items()}
        return {names.get(key, key): value for key, value in inputs.items()}

    def _settled(self, name: str, others: list[Touches]) -> Value:
        """Return a field's value without what some attempts have changed in it, the latest first."""
        touched = sorted(
            (one.fields[name] for one in others if name in one.fields),
            key=lambda touch: -touch.order,
        )
        if touched and not touched[0].shared:
            now, touched = touched[0].before, touched[1:]
        else:
            now = self._encoded(name, checked=True)
        for touch in touched:
            now = touch.taken_from(now)
        return now

    def _let_others_know(self, name: str, gone: Touch, settled: Value) -> None:
        """Take what an attempt had changed out of what others remember of a field."""
        for touch in (one.fields[name] for one in self._active if name in one.fields):
            if touch.order > gone.order:
                touch.before = gone.taken_from(touch.before)
                touch.after = gone.taken_from(touch.after)
            elif touch.after == settled:
                touch.shared = False

    def _fields(self) -> dict[str, object]:
        state = self.value
        if isinstance(state, StateDict):
            return dict(_Plain.items(state))
        known = type(state).model_fields
        members = dict(cast("_Plain", state.__dict__))
        return {name: members[name] for name in known if name in members} | dict(
            state.__pydantic_extra__ or {}
        )

    def _encoded(self, name: str, *, checked: bool = False) -> Value:
        fields = self._fields()
        if name not in fields:
            return MISSING
        if checked:
            self._codec.check(fields[name], self._annotation(name), path=f"state.{name}")
        return self._codec.to_tree(fields[name], path=f"state.{name}")

    def _annotation(self, name: str) -> object:
        known = self._tracked.model_fields if self._tracked else {}
        return known[name].annotation if name in known else object

    def _put(self, name: str, settled: Value) -> None:
        """Put a value in the place of another; where others may hold that, into the same object."""
        home = home_of(self.value, name)
        if isinstance(settled, Missing):
            _Plain.pop(home, name, None)
            return
        value = self._codec.from_tree(settled, path=f"state.{name}")
        now = _Plain.get(home, name)
        kinds = {type(now), type(value)}
        if kinds == {list}:
            cast("list[object]", now)[:] = cast("list[object]", value)
        elif kinds == {dict}:
            members = cast("dict[object, object]", now)
            members.clear()
            members.update(cast("dict[object, object]", value))
        else:
            _Plain.__setitem__(home, name, value)

    def _loaded(self, name: str, tree: Tree) -> object:
        path = f"state.{name}"
        model = self._tracked
        if model is None:
            return self._codec.from_tree(tree, path=path)
        if name not in model.model_fields and model.model_config.get("extra") != "allow":
            raise CodecError("the state model has no such field any more", path=path)
        return self._codec.from_tree(tree, self._annotation(name), path=path)


_Plain = dict[str, object]
"""For its methods, which note nothing."""
