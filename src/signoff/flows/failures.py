"""Exceptions as they are stored, and raised again (floor 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from signoff.codec import Codec
from signoff.errors import CodecError, RunFailed, SignoffError
from signoff.model.run import Failure
from signoff.registry import default_name


def recorded(error: BaseException, codec: Codec) -> Failure:
    """Return an exception as it is stored: its type by name, its text, its arguments if they can be."""
    arguments: object = list(error.args)
    attributes = dict(error.__dict__) if isinstance(error, SignoffError) else {}
    try:
        tree = codec.to_tree([arguments, attributes], path="error")
    except CodecError:
        tree = None
    return Failure(
        type_name=default_name(type(error)),
        message=_text(error).encode(errors="replace").decode(),
        arguments=tree,
    )


def _text(error: BaseException) -> str:
    """Return an exception's text; it is the user's code that makes it, and may raise itself."""
    try:
        return str(error)
    except Exception as raised:  # noqa: BLE001 - whatever it raises, the exception is recorded
        return f"(its text cannot be made: {type(raised).__name__})"


def raised_again(failure: Failure, *, run_id: str, codec: Codec) -> Exception:
    """
    Return the exception that was recorded, of its own type where this process has that type loaded.

    Nothing is imported: a type that is not loaded, or that cannot be made from its arguments,
    gives a `RunFailed` with its name and text.
    """
    kind = next(
        (each for each in _exception_types(Exception) if default_name(each) == failure.type_name),
        None,
    )
    if kind is not None and failure.arguments is not None:
        try:
            stored = cast(
                "tuple[list[object], dict[str, object]]", codec.from_tree(failure.arguments)
            )
            arguments, attributes = stored
            error = kind.__new__(kind, *arguments)
            error.args = tuple(arguments)
            error.__dict__.update(attributes)
        except Exception:  # noqa: BLE001, S110 - a type of the user's may raise anything
            pass
        else:
            return error
    return RunFailed(run_id, type_name=failure.type_name, message=failure.message)


def _exception_types(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for each in type.__subclasses__(root):
        yield from _exception_types(each)
