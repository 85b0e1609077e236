"""Parity: the blocking client has every public method of the other one, with the same signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import cast

import pytest

import signoff
import signoff.sync
from signoff.context import Host
from signoff.flows.api import Flows
from signoff.hitl import Hitl
from signoff.sync.requests import BlockingHitl
from signoff.sync.runs import BlockingFlows

PAIRS: dict[str, tuple[type, type]] = {
    "Client": (signoff.Client, signoff.sync.Client),
    "flows": (Flows, BlockingFlows),
    "hitl": (Hitl, BlockingHitl),
}

# What the client itself calls, with records that applications do not have.
OF_THE_MACHINERY = {"store_new"}


def public(kind: type) -> dict[str, object]:
    """Return what a class says it has, and how it is made, by name."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("_") and name not in OF_THE_MACHINERY
    }


def cases() -> list[tuple[str, str]]:
    """Return each public method and property of each asynchronous class."""
    return [(pair, name) for pair, (kind, _) in PAIRS.items() for name in public(kind)]


def is_of_a_host(name: str) -> bool:
    """Tell whether a name is what gates and flows need of both clients alike."""
    return hasattr(Host, name)


@pytest.mark.parametrize("pair", PAIRS)
def test_both_have_the_same_public_names(pair: str) -> None:
    """No method more and none less, whatever is added to either."""
    theirs, ours = PAIRS[pair]

    assert set(public(ours)) == set(public(theirs))


@pytest.mark.parametrize(("pair", "name"), cases())
def test_a_method_takes_and_returns_what_its_counterpart_does(pair: str, name: str) -> None:
    """The same parameters, kinds, defaults and annotations; what was awaited is returned."""
    theirs, ours = (public(kind)[name] for kind in PAIRS[pair])
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        assert name in PAIRS
        return
    expected = inspect.signature(cast("Callable[..., object]", theirs))
    found = inspect.signature(cast("Callable[..., object]", ours))
    returned = str(expected.return_annotation).replace("AsyncGenerator", "Generator")

    assert list(found.parameters.values()) == list(expected.parameters.values())
    assert found.return_annotation == returned


@pytest.mark.parametrize(("pair", "name"), cases())
def test_nothing_is_awaited_but_what_a_host_owes_async_callers(pair: str, name: str) -> None:
    """A gate that awaits finds an awaitable also behind the blocking client."""
    theirs, ours = (public(kind)[name] for kind in PAIRS[pair])
    owed = pair == "Client" and is_of_a_host(name) and inspect.iscoroutinefunction(theirs)

    assert inspect.iscoroutinefunction(ours) == owed


def test_both_clients_are_made_alike() -> None:
    """Whoever changes from one to the other changes the import."""
    theirs, ours = PAIRS["Client"]

    assert inspect.signature(ours) == inspect.signature(theirs)


@pytest.mark.parametrize(("pair", "name"), cases())
def test_every_method_says_what_it_does(pair: str, name: str) -> None:
    """Help in an editor needs no second page."""
    assert inspect.getdoc(public(PAIRS[pair][1])[name])
