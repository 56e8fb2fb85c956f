"""Where a group's log is kept."""

from p2praft.storage.base import Storage
from p2praft.storage.memory import MemoryStorage

__all__ = ["MemoryStorage", "Storage"]
