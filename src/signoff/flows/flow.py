"""`Flow`: the class that users write (floor 6)."""

from __future__ import annotations

import copy
import inspect
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, Literal, TypeAlias, cast, get_args, get_origin
from weakref import WeakKeyDictionary

import anyio
from pydantic import BaseModel
from typing_extensions import TypeVar, override

from signoff.codec import codec
from signoff.context import Host, current_scope, default_host
from signoff.errors import ConfigurationError
from signoff.flows.dsl import Stamp, StepMark, mark_of
from signoff.flows.state import StateBox
from signoff.flows.tracking import TRACKED
from signoff.gates import feedback_of, refuse_bad_policy, registered_hints
from signoff.model.feedback import HumanFeedbackResult
from signoff.model.policy import Policy
from signoff.registry import default_name, flow_classes
from signoff.rules.digest import digest
from signoff.rules.graph import Graph, StepSpec, leaves, met_by
from signoff.rules.slips import meant

StateT_co = TypeVar("StateT_co", default=dict[str, object], covariant=True)

_log = logging.getLogger("signoff.flows")

_beginning_use: Final = threading.Lock()
"""Held for a moment by whoever begins to use an instance."""

MAX_METHOD_CALLS = 100


Steps: TypeAlias = Mapping[str, tuple[Callable[..., object], StepMark]]
"""The steps of a class by name, with what their decorators said."""


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a flow's class looks like, found out once.

    Attributes:
        graph: Its graph.
        steps: Its steps.
        former_names: Their names of today by their former ones.
        fingerprint: The digest of the graph's fingerprint.
    """

    graph: Graph
    steps: Steps
    former_names: Mapping[str, str]
    fingerprint: str


class Flow(Generic[StateT_co]):
    """
    A graph of steps that stops for humans and goes on later, perhaps elsewhere.

    Write steps as methods under `@start()`, `@listen(...)` and `@router(...)`. With
    `class F(Flow[Model])` the state is that pydantic model, otherwise a dict.

    An instance may be kicked off again and again; each kickoff is a new run. It shows the state
    of one run at a time, so runs side by side take an instance for each.

    Attributes:
        initial_state: The state that a run begins with: a model class or instance, or a dict.
        max_method_calls: How often one step may run in one run.
        state_version: Count it up when a state that was stored before needs `migrate`.
    """

    initial_state: ClassVar[object] = None
    max_method_calls: ClassVar[int] = MAX_METHOD_CALLS
    state_version: ClassVar[int] = 1

    __signoff_name__: ClassVar[str] = ""
    __signoff_policy__: ClassVar[Policy] = Policy()
    __signoff_shape__: ClassVar[Shape | None] = None

    _is_in_use = False

    @override
    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        aliases: Sequence[str] = (),
        policy: Policy | None = None,
        **kwargs: object,
    ) -> None:
        """
        Register the class.

        Args:
            name: Pins the stored name; `module:qualname` without it.
            aliases: Former stored names.
            policy: What holds for the gates in its runs where they say nothing, over that of the
                class it inherits from and of the client.
            **kwargs: For other base classes.

        Raises:
            ConfigurationError: Another class has the name, the policy is none, misspelt or of
                critical risk, or a decorator stands without its parentheses.
        """
        super().__init_subclass__(**kwargs)
        if policy is not None:
            refuse_bad_policy(policy)
            cls.__signoff_policy__ = policy.over(cls.__signoff_policy__)
        cls.__signoff_name__ = name or default_name(cls)
        cls.__signoff_shape__ = None
        flow_classes.add(cls, origin=default_name(cls), names=(cls.__signoff_name__, *aliases))
        _refuse_bare_decorators(cls)
        _register_types(cls)
        _warn_of_shared_labels(cls)

    def __init__(self, *, client: Host | None = None, initial_state: object = None) -> None:
        """
        Make an instance.

        Args:
            client: The client that runs it; the default client without it.
            initial_state: In place of the class's own.
        """
        self._client = client
        self._own_initial_state = initial_state
        model = self.state_model()
        if model is not None:
            codec.register_annotation(model)
        self.fresh_frame(model).prepare(self._initial_values())
        self._is_new = True

    @classmethod
    def migrate(
        cls,
        state: dict[str, object],
        from_version: int,  # noqa: ARG003 - for those who override it
    ) -> Mapping[str, object]:
        """
        Return a stored state as this class wants it; to be overridden.

        Called for a run whose state was stored under a lower `state_version`, when the run goes
        on and before anything else of it does. What it returns is checked like a run's inputs,
        and stored with whatever the run stores next; until then it may be called again. So it
        has no other effect than its result.

        Args:
            state: The stored fields by name. A value whose type does not load any more is given
                as plain JSON: a record as a dict of its members.
            from_version: The `state_version` that it was stored under.

        Returns:
            The fields by name, `state` itself perhaps. Plain values become what the model says.

        Raises:
            Exception: Anything it raises blocks the run, and is shown.
        """
        return state

    @property
    def state(self) -> StateT_co:
        """The state of the current, else the last run."""
        return cast("StateT_co", self._box.value)

    @property
    def flow_id(self) -> str:
        """The id in the state."""
        value = self._box.value
        return str(value.get("id", "") if isinstance(value, dict) else getattr(value, "id", ""))

    @property
    def method_outputs(self) -> list[object]:
        """What the steps returned, in the order they finished."""
        return list(self._outputs)

    @property
    def human_feedback_history(self) -> list[HumanFeedbackResult]:
        """What the gates of this run came to, oldest first."""
        return list(self._history)

    @property
    def last_human_feedback(self) -> HumanFeedbackResult | None:
        """The newest of them."""
        return self._history[-1] if self._history else None

    def kickoff(self, inputs: Mapping[str, object] | None = None) -> object:
        """
        Run to the end or to the suspension, blocking this thread.

        Args:
            inputs: Merged into the state.

        Returns:
            The output of the last step that finished, or `Suspended`.

        Raises:
            ValueError: An input does not fit the state; the message names the field.
            ConfigurationError: Called on the thread of an open client's own loop; use
                `kickoff_async` there. Or this instance is in the middle of another run.
            Exception: What failed the run.
        """
        scope = current_scope.get()
        if scope is not None:
            return scope.child_blocking(self, inputs)
        return self._host().kickoff_blocking(self, inputs)

    async def kickoff_async(self, inputs: Mapping[str, object] | None = None) -> object:
        """
        Run to the end or to the suspension; inside a step, as a child run.

        Args:
            inputs: Merged into the state.

        Returns:
            The output of the last step that finished, or `Suspended`.

        Raises:
            ValueError: An input does not fit the state; the message names the field.
            ConfigurationError: This instance is in the middle of another run.
            ChildRunFailed: Inside a step, when the child run failed.
            Exception: What failed the run.
        """
        scope = current_scope.get()
        if scope is not None:
            return await scope.child(self, inputs)
        return await self._host().kickoff(self, inputs)

    akickoff = kickoff_async

    @contextmanager
    def in_use(self) -> Generator[None]:
        """
        Keep the instance to one run, so that no step finds the state of another; for the executor.

        Raises:
            ConfigurationError: It is in the middle of another run.
        """
        with _beginning_use:
            if self._is_in_use:
                name = type(self).__name__
                raise ConfigurationError(
                    f"this {name} is in the middle of another run, whose state it shows; make an"
                    f" instance for each run: {name}()"
                )
            self._is_in_use = True
        try:
            yield
        finally:
            self._is_in_use = False

    def fresh_frame(self, model: type[BaseModel] | None) -> StateBox:
        """Forget the last run and return the box for the state of a new one; for the executor."""
        self._box = StateBox(codec, model)
        self._is_new = False
        self._outputs: list[object] = []
        self._history: list[HumanFeedbackResult] = []
        self.lock = anyio.Lock()
        """For steps that run in parallel and must not change the state at the same time."""
        return self._box

    def state_model(self) -> type[BaseModel] | None:
        """Return the pydantic model of the state, or `None` for a dict; for the executor."""
        return state_model(type(self), self._own_initial_state)

    def initial_values(self) -> dict[str, object]:
        """
        Return the values that a run's state begins with; for the executor.

        What was put into the state of a new instance counts; what a run left there does not.
        """
        values = self._box.plain() if self._is_new else self._initial_values()
        return {name: value for name, value in values.items() if (name, value) != ("id", "")}

    def _initial_values(self) -> dict[str, object]:
        initial = self._own_initial_state
        return _values_of(initial if initial is not None else type(self).initial_state)

    def note(self, output: object, result: HumanFeedbackResult | None) -> None:
        """Take note of a finished step; for the executor."""
        self._outputs.append(output)
        if result is not None:
            self._history.append(result)

    def _host(self) -> Host:
        return self._client if self._client is not None else default_host()


def stored_name(flow: type[Flow[object]]) -> str:
    """Return the name that a flow's runs are stored under."""
    return flow.__signoff_name__


def shape_of(flow: type[Flow[object]]) -> Shape:
    """
    Return what a class looks like, found out when it is first used.

    Raises:
        ValueError: A step listens to itself, or nothing would ever run it, or a former name
            still means something.
        ConfigurationError: No step begins it.
    """
    shape = flow.__dict__.get("__signoff_shape__")
    if not isinstance(shape, Shape):
        steps = steps_of(flow)
        graph = Graph({name: _step_spec(name, fn, mark) for name, (fn, mark) in steps.items()})
        if not graph.initial():
            raise ConfigurationError(
                f"{stored_name(flow)} has no @start() step, so it cannot begin"
            )
        former = _former_names(steps)
        _refuse_ambiguous(former, graph)
        _tell_of_dead_steps(flow, steps)
        shape = Shape(graph, steps, former, digest(graph.fingerprint()))
        flow.__signoff_shape__ = shape
    return shape


def steps_of(flow: type) -> dict[str, tuple[Callable[..., object], StepMark]]:
    """Return the steps of a class by name, inherited ones first; an override replaces its parent's."""
    found: dict[str, tuple[Callable[..., object], StepMark]] = {}
    for base in reversed(flow.__mro__):
        for name, fn in vars(base).items():
            mark = mark_of(fn)
            if mark is not None:
                found[name] = (fn, mark)
            else:
                found.pop(name, None)
    return found


def _former_names(steps: Steps) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, (_, mark) in steps.items():
        for alias in mark.aliases:
            if found.setdefault(alias, name) != name:
                raise ValueError(
                    f"steps {found[alias]!r} and {name!r} have the same alias, {alias!r}"
                )
    return found


def _refuse_ambiguous(former: Mapping[str, str], graph: Graph) -> None:
    for alias, name in former.items():
        if alias in graph.steps:
            raise ValueError(f"{alias!r} is an alias of step {name!r} and a step too")
        for spec in graph.steps.values():
            for leaf in leaves(spec.condition) if spec.condition else ():
                if leaf.partition(":")[0] == alias:
                    raise ValueError(
                        f"step {spec.name!r} listens to {leaf!r}, and {alias!r} is an alias of"
                        f" step {name!r}: listen to that"
                    )


def _tell_of_dead_steps(flow: type, steps: Steps) -> None:
    """Log the steps that nothing ever fires, for want of a label or by a slip in its spelling."""
    known = set(steps)
    for name, (fn, mark) in steps.items():
        choices = getattr(feedback_of(fn), "choices", ())
        labels = [*mark.labels, *(choice.label for choice in choices)]
        if mark.router and not labels:
            return  # What it returns may be any label.
        known |= {*labels, *(f"{name}:{label}" for label in labels)}
    for name, (_, mark) in steps.items():
        condition = None if mark.start else mark.condition
        if condition is not None and not met_by(condition, known):
            lost = [leaf for leaf in leaves(condition) if leaf not in known]
            _log.warning(
                "%s.%s never runs: %s is no step and no label of the flow%s",
                flow.__qualname__,
                name,
                ", ".join(map(repr, lost)),
                meant(lost[0], known),
            )


def _step_spec(name: str, fn: Callable[..., object], mark: StepMark) -> StepSpec:
    feedback = feedback_of(fn)
    routes = mark.router or bool(feedback and feedback.choices)
    return StepSpec(name, condition=mark.condition, start=mark.start, router=routes)


def state_model(flow: type, initial_state: object = None) -> type[BaseModel] | None:
    """Return the pydantic model of a flow's state, or `None` for a dict."""
    for candidate in (initial_state, getattr(flow, "initial_state", None)):
        if isinstance(candidate, BaseModel):
            return type(candidate)
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    if flow not in _models:
        _models[flow] = _model_in_bases(flow)
    return _models[flow]


def _model_in_bases(flow: type) -> type[BaseModel] | None:
    for base in flow.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            origin = get_origin(generic)
            arguments = get_args(generic)
            if isinstance(origin, type) and issubclass(origin, Flow) and arguments:
                model = arguments[0]
                if isinstance(model, type) and issubclass(model, BaseModel):
                    return model
    return None


_models: Final = WeakKeyDictionary[type, type[BaseModel] | None]()
"""What classes were found to say of their state as `Flow[Model]`."""


def loaded_model(name: str) -> type[BaseModel] | None:
    """Return the model of that name, if this process has loaded one; nothing is imported."""
    return next((each for each in _models_under(BaseModel) if default_name(each) == name), None)


def _models_under(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in root.__subclasses__():
        if TRACKED not in vars(each):
            yield each
        yield from _models_under(each)


def _values_of(initial: object) -> dict[str, object]:
    # Copies: a run changes its state, and never what the next run begins with.
    if isinstance(initial, BaseModel):
        return dict(initial.model_copy(deep=True))
    if isinstance(initial, Mapping):
        members = cast("Mapping[object, object]", initial)
        return {str(name): copy.deepcopy(value) for name, value in members.items()}
    if isinstance(initial, type) and issubclass(initial, dict):
        return {}
    if initial is None or (isinstance(initial, type) and issubclass(initial, BaseModel)):
        return {}
    raise ConfigurationError(
        f"initial_state={initial!r} is neither a pydantic model (class or instance) nor a dict"
    )


def _refuse_bare_decorators(flow: type) -> None:
    for name, found in vars(flow).items():
        if isinstance(found, Stamp):
            raise ConfigurationError(
                f"{flow.__qualname__}.{name} is no step, because a decorator above it stands"
                " without its parentheses; write @start(), @listen(step) or @router(step)"
            )


def _register_types(flow: type) -> None:
    model = state_model(flow)
    if model is not None:
        codec.register_annotation(model)
    for fn, _mark in steps_of(flow).values():
        registered_hints(fn)


def _warn_of_shared_labels(flow: type) -> None:
    labels = Counter(
        choice.label
        for fn, _mark in steps_of(flow).values()
        for choice in (getattr(feedback_of(fn), "choices", ()))
    )
    shared = [label for label, count in labels.items() if count > 1]
    if shared:
        warnings.warn(
            f"{flow.__qualname__}: several gates emit {', '.join(map(repr, shared))}, so each fires"
            " the other's listeners; listen to 'step:label' for one gate's label",
            stacklevel=3,
        )


def arguments_of(step: Callable[..., object], offered: tuple[object, ...]) -> tuple[object, ...]:
    """
    Return what a bound step is called with: what fired it, if it has a parameter for that.

    A step that begins a run, where nothing fired it, keeps its parameter's default, or gets `None`.
    """
    function = getattr(step, "__func__", step)
    taken = _taken.get(function)
    if taken is None:
        taken = _taken[function] = _takes(step)
    if taken == "nothing":
        return ()
    return offered or ((None,) if taken == "one" else ())


def _takes(step: Callable[..., object]) -> _Taken:
    for parameter in inspect.signature(step).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return "any"
        if parameter.kind in _POSITIONAL:
            return "one" if parameter.default is inspect.Parameter.empty else "any"
    return "nothing"


_Taken: TypeAlias = Literal["nothing", "one", "any"]
"""What a step takes: no argument, one in any case, or one if there is one."""

_taken: Final = WeakKeyDictionary[Callable[..., object], _Taken]()


_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
