"""What can go wrong, as one tree. Each message says what happened, to what, and what to try.

::

    P2PRaftError
    ├── ConfigError        a setting is nonsense; names the field and the allowed range
    ├── AddressError       not an address, peer id, network id or group id
    ├── KeyFileError       an identity or secret file is missing, unreadable or readable by others
    ├── BindError          the node's socket cannot be bound
    ├── StorageError       the log on disk is corrupt, locked, full or not writable
    ├── IdentityInUse      another process has this node's key; this one ended
    ├── NoCommands         execute_many([]) or feed_many([])
    ├── NotAuthorized      a member may not do this (an observer that is asked to lead)
    ├── GroupClosed        the handle was left or its network was
    ├── Offline            no leader was found in time; nothing was sent, the commands come back
    ├── OutcomeUnknown     sent, but the timeout passed first; retrying the same call is safe
    │   └── HistoryEnded   sent, and then this member gave up the history that it was sent in
    └── CommandFailed      the state machine refused the command, alike on every member

Those of the ``transport`` package (``AddressError``, ``KeyFileError``, ``BindError`` and what stands in
``transport/errors.py``) and of ``discovery`` derive from the same root.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from transport.errors import AddressError, BindError, ConfigError, KeyFileError, P2PRaftError, TransportError


class StorageError(P2PRaftError):
    """The durable log cannot be trusted or written; the member stops rather than forget."""


class IdentityInUse(P2PRaftError):
    """Another process has this node's key, and goes on in its place; the group ended here."""


class NoCommands(P2PRaftError, ValueError):
    """An empty sequence of commands was given."""


class NotAuthorized(P2PRaftError):
    """This member, or this kind of member, may not do what was asked."""


class GroupClosed(P2PRaftError):
    """The group handle is closed."""


class Offline(P2PRaftError):
    """No leader could be reached in time and nothing was sent.

    Attributes:
        commands: What was to be executed, unsent and unchanged; empty for a query.
    """

    def __init__(self, message: str, commands: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.commands = list(commands)


class OutcomeUnknown(P2PRaftError):
    """The command was handed to a leader, and the timeout passed before its outcome was known.

    It takes effect at most once. :meth:`wait` waits on for that same command; executing it anew would be a second one.
    """

    def __init__(self, message: str, settled: Callable[[], Awaitable[list[Any]]] | None = None) -> None:
        super().__init__(message)
        self._settled = settled

    async def wait(self) -> list[Any]:
        """Wait, without a bound, until the same commands are settled; their results.

        Raises:
            CommandFailed: The state machine refused one.
            GroupClosed: The group closed first.
        """
        if self._settled is None:
            raise self
        return await self._settled()


class HistoryEnded(OutcomeUnknown):
    """The command was handed to a leader of a history that this member has given up since.

    Whether it took effect there this member cannot know. Look at the state, and execute it anew if it is not in it.

    Attributes:
        history: Id of that history, in hexadecimal digits; its log was kept in an archive of that name, if it held anything.
    """

    def __init__(self, message: str, history: str) -> None:
        super().__init__(message)
        self.history = history


class CommandFailed(P2PRaftError):
    """The state machine raised while applying the command, or could not decode it; its state is what it left.

    Attributes:
        results: Of all commands that shared the call, in order: each one's result, or its own CommandFailed.
    """

    results: Sequence[Any] = ()


__all__ = [
    "AddressError",
    "BindError",
    "CommandFailed",
    "ConfigError",
    "GroupClosed",
    "HistoryEnded",
    "IdentityInUse",
    "KeyFileError",
    "NoCommands",
    "NotAuthorized",
    "Offline",
    "OutcomeUnknown",
    "P2PRaftError",
    "StorageError",
    "TransportError",
]
