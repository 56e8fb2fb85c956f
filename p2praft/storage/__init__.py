"""Where a group's log is kept."""

from p2praft.storage.base import Storage
from p2praft.storage.directory import DataDirectory
from p2praft.storage.memory import MemoryStorage
from p2praft.storage.sqlite import SqliteStorage

__all__ = ["DataDirectory", "MemoryStorage", "SqliteStorage", "Storage"]
