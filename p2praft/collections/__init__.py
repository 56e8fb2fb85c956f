"""Ready-made replicated structures."""

from p2praft.collections.base import StructureError, StructureMachine
from p2praft.collections.map import Conflict, Map, MapEntry, MapMachine

__all__ = ["Conflict", "Map", "MapEntry", "MapMachine", "StructureError", "StructureMachine"]
