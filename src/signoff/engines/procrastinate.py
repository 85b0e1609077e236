"""
The engine for workers on many machines, of the extra `distributed` (floor 4).

Named apart from `signoff.engines`, because Procrastinate need not be installed.
"""

from __future__ import annotations

from signoff.errors import ConfigurationError

try:
    from signoff.engines.procrastinate_engine import ProcrastinateEngine
except ImportError as error:
    raise ConfigurationError(
        "ProcrastinateEngine needs procrastinate: pip install 'signoff[distributed]'"
    ) from error

__all__ = ["ProcrastinateEngine"]
