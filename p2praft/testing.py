"""For tests of one's own state machines: a network in memory, with faults, made for virtual time.

``Network(…, transport=MemoryNetwork(seed).transport("host-1"))`` runs the whole stack but the sockets. On trio's
``MockClock(autojump_threshold=0)``, hours pass in seconds; see ``examples/own_machine.py``.
"""

from transport import MemoryNetwork

__all__ = ["MemoryNetwork"]
