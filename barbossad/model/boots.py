"""What a boot of the host is called: by the kernel's word for it, and in a container by its own start as well. Pure.

Containers of one host share the kernel and what it says of its boot. What is new in one that was booted is its first
process.
"""

from __future__ import annotations

_BETWEEN = "@"


def name(kernel: str, first_process_ticks: int | None) -> str:
    """Return the name of a boot; ``first_process_ticks`` is when process 1 was made, None if that is not known."""
    return kernel if first_process_ticks is None else f"{kernel}{_BETWEEN}{first_process_ticks}"


def is_same(one: str, other: str) -> bool:
    """Say whether two names are of the same boot. One of an older release is the kernel's word alone, and may be."""
    kernel, _, ticks = one.partition(_BETWEEN)
    other_kernel, _, other_ticks = other.partition(_BETWEEN)
    return kernel == other_kernel and (not ticks or not other_ticks or ticks == other_ticks)
