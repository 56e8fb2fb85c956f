"""Ready-made replicated structures."""

from p2praft.collections.base import StructureError, StructureMachine, StructureReader, Watch
from p2praft.collections.map import Conflict, Map, MapChange, MapEntry, MapReader, MapReset, MapView
from p2praft.collections.map_machine import MapMachine

__all__ = [
    "Conflict",
    "Map",
    "MapChange",
    "MapEntry",
    "MapMachine",
    "MapReader",
    "MapReset",
    "MapView",
    "StructureError",
    "StructureMachine",
    "StructureReader",
    "Watch",
]
