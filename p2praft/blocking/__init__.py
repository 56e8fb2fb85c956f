"""For programs without an event loop: the same names, and calls that block until they are done.

::

    from p2praft.blocking import Map, Network

    with Network("factory", seeds=["<peer-id>@10.0.0.5:7001"]) as net:
        with net.group("line-1", secret="correct horse", machine=MapMachine()) as group:
            group.when.online(timeout=30)
            shelf = Map(group)
            shelf.set("apple", 3)
            for change in shelf.watch():
                print(change)

An event loop runs on a thread of its own, one a network, from entering it until it is left. What to know:

- **Threads.** Every call may come from any thread. The state machine runs on the loop's thread: what it shares with others, it
  locks. From in there nothing here can be called (:class:`WrongThread`).
- **Ctrl-C** interrupts whatever waits. A command that had not left by then takes no effect; one that had may.
- **Fork.** A network belongs to the process that entered it. In a forked child every use raises :class:`Forked`, and leaving
  it does nothing. Enter a new one there, or let ``multiprocessing`` spawn.
- **Exit.** What is still open when the interpreter exits is closed in good order. Without the ``with`` statement, as in a notebook:
  ``net = Network(…).open()`` and ``net.close()``.
- **Event loops** of the caller's, as in Jupyter, are not touched; but a call blocks them as it blocks their thread.
"""

from p2praft.blocking.loop import Events, Forked, When, WrongThread
from p2praft.blocking.network import Group, GroupHandle, Network, Peers
from p2praft.blocking.structures import Map, MapReader

__all__ = ["Events", "Forked", "Group", "GroupHandle", "Map", "MapReader", "Network", "Peers", "When", "WrongThread"]
