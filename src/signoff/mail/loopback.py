"""Which servers may be spoken to without TLS (floor 3)."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(hostname: str) -> bool:
    """Return whether a server's name can only mean this machine."""
    if hostname == "localhost":
        return True
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return False
