"""The slot of the default host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from signoff import Client, context
from signoff.context import default_host, fill_default_host, set_default_host
from signoff.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _slot() -> Iterator[None]:
    """Put the slot back as it was."""
    kept = (context._slot.host, context._slot.factory)
    yield
    context._slot.host, context._slot.factory = kept


def test_the_built_in_host_is_made_once_when_it_is_needed() -> None:
    """One that was set comes before it, and taking that away makes another built-in one."""
    made: list[Client] = []

    def factory() -> Client:
        made.append(Client())
        return made[-1]

    own = Client()
    set_default_host(None)
    fill_default_host(factory)

    assert default_host() is default_host() is made[0]
    set_default_host(own)
    assert default_host() is own
    set_default_host(None)
    assert default_host() is made[1]
    assert len(made) == 2


def test_without_a_factory_there_is_no_default_host() -> None:
    """As where the client's module was never imported."""
    context._slot.host = context._slot.factory = None

    with pytest.raises(ConfigurationError, match="there is no default client"):
        default_host()
