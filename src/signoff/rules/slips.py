"""Slips that a type checker would show: refused in one sentence with the name, the value and what to write (floor 1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta

from signoff.errors import ConfigurationError


def refuse_bare_numbers(**durations: object) -> None:
    """
    Refuse durations that are no `timedelta`, by the names of their options; `None` is fine.

    Raises:
        ConfigurationError: One is a number, say, whose unit nobody could tell.
    """
    for name, value in durations.items():
        if value is not None and not isinstance(value, timedelta):
            number = value if isinstance(value, (int, float)) else 30
            raise ConfigurationError(
                f"{name}={value!r} has no unit; write {name}=timedelta(seconds={number}),"
                " or minutes=, hours=, days="
            )


def refuse_unknown_option(given: Iterable[str], known: Collection[str], *, of: str) -> None:
    """
    Refuse a keyword that nothing reads, as Python does for a function that names its own.

    Raises:
        TypeError: There is one; it names the one that was meant, if there is one like it.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"{of} got an unexpected keyword argument {name!r}{meant(name, known)}")


def refuse_other_word(name: str, value: object, known: Collection[str]) -> None:
    """
    Refuse a value that is none of the words an option knows.

    Raises:
        ConfigurationError: It is none; it names them all.
    """
    if value not in known:
        raise ConfigurationError(
            f"{name}={value!r}: use one of {', '.join(repr(word) for word in known)}"
        )


def names_in(option: str, names: Iterable[str]) -> tuple[str, ...]:
    """
    Return a list of names as a tuple.

    Raises:
        ConfigurationError: It is one text, whose letters would be taken for names.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"{option}={names!r} is one text; write {option}=[{names!r}]")
    return tuple(names)


def refuse_no_text(name: str, value: object, *, write: str) -> None:
    """
    Refuse what is no text.

    Raises:
        ConfigurationError: It is none; `write` says what to write.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}={value!r} is no text; write {write}")


def meant(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the known word that is most like a misspelt one, if any is."""
    from difflib import get_close_matches  # noqa: PLC0415 - the root stays light

    alike = get_close_matches(word, list(known))
    return f"; did you mean {alike[0]!r}?" if alike else ""
