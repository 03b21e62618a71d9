"""Say how much of the machine others had while the bench ran: with much of it, figures are to be taken again."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU seconds so far: of the whole machine by use, and of this bench with all that it has started and ended."""

    total: float
    idle: float
    stolen: float
    own: float

    @classmethod
    def now(cls) -> Machine:
        """Read the counters. Source: proc(5), /proc/stat."""
        ticks = os.sysconf("SC_CLK_TCK")
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        fields = [int(word) / ticks for word in line.split()[1:9]]
        own = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            own += used.ru_utime + used.ru_stime
        return cls(total=sum(fields), idle=fields[3] + fields[4], stolen=fields[7], own=own)

    def since(self, before: Machine) -> str:
        """Return what others took since ``before``, as a sentence."""
        total = max(self.total - before.total, 0.01)
        stolen = self.stolen - before.stolen
        busy = total - (self.idle - before.idle) - stolen
        others = max(busy - (self.own - before.own), 0.0)
        return (
            f"meanwhile other programs used {others / total:.0%} of the CPU "
            f"and the hypervisor kept {stolen / total:.0%} back"
        )
