"""An immutable sorted map: a B+ tree whose changes copy one path and share the rest.

A change makes a new map and leaves the old one as it was, so keeping a snapshot is keeping a reference: O(1), whatever the size,
and whoever iterates over one is not disturbed by what is changed meanwhile. Lookups and changes are O(log n) with small
constants (a path of 200,000 keys has three nodes, each copied by C code); iteration is in the order of the keys.

Source: B+ trees as in Comer, "The Ubiquitous B-Tree" (1979); path copying as in Driscoll et al., "Making Data Structures
Persistent" (1986).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)
V = TypeVar("V")

WIDTH = 64
"""Keys or children of one node at most."""
THIN = WIDTH // 4
"""Below this a node is merged with a neighbour if both fit into one."""


class _Node:
    """A leaf with its keys and values, or a branch with its children.

    Attributes:
        keys: Of a leaf: its keys. Of a branch: ``keys[i]`` is no larger than what is in child ``i``, and larger than what is
            in child ``i - 1``; ``keys[0]`` is never looked at.
        items: Of a leaf: the values. Of a branch: the children.
    """

    __slots__ = ("is_leaf", "items", "keys")

    def __init__(self, keys: list[Any], items: list[Any], is_leaf: bool) -> None:
        self.keys = keys
        self.items = items
        self.is_leaf = is_leaf


class SortedMap(Generic[K, V]):
    """Keys of one ordered type, with values. Never changes; what would change it returns another."""

    __slots__ = ("_root", "_size")

    def __init__(self) -> None:
        self._root = _Node([], [], True)
        self._size = 0

    @classmethod
    def from_sorted(cls, items: Iterable[tuple[K, V]]) -> SortedMap[K, V]:
        """The map of ``items``, whose keys must ascend; O(n).

        Raises:
            ValueError: A key is not above the one before it.
        """
        level: list[_Node] = []
        leaf = _Node([], [], True)
        size = 0
        last: Any = None
        for key, value in items:
            if size and not last < key:
                raise ValueError(f"keys do not ascend: {key!r} comes after {last!r}")
            last = key
            if len(leaf.keys) == WIDTH:
                level.append(leaf)
                leaf = _Node([], [], True)
            leaf.keys.append(key)
            leaf.items.append(value)
            size += 1
        level.append(leaf)
        while len(level) > 1:
            parts = [level[at : at + WIDTH] for at in range(0, len(level), WIDTH)]
            level = [_Node([child.keys[0] for child in part], part, False) for part in parts]
        return cls._of(level[0], size)

    @classmethod
    def _of(cls, root: _Node, size: int) -> SortedMap[K, V]:
        made = cls.__new__(cls)
        made._root = root
        made._size = size
        return made

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: K) -> bool:
        return self._find(key) is not None

    def get(self, key: K) -> V | None:
        """The value of ``key``, or None."""
        found = self._find(key)
        return None if found is None else found[0].items[found[1]]

    def first(self) -> tuple[K, V] | None:
        """The lowest key with its value, or None."""
        return next(self.items(), None)

    def items(self, start: K | None = None) -> Iterator[tuple[K, V]]:
        """Keys and values in order, from ``start`` on."""
        return _walk(self._root, start)

    def set(self, key: K, value: V) -> SortedMap[K, V]:
        """With ``value`` under ``key``."""
        parts, added = _set(self._root, key, value)
        root = parts[0] if len(parts) == 1 else _Node([part.keys[0] for part in parts], parts, False)
        return self._of(root, self._size + added)

    def delete(self, key: K) -> SortedMap[K, V]:
        """Without ``key``; itself if it has no such key."""
        if self._find(key) is None:
            return self
        root = _delete(self._root, key)
        while not root.is_leaf and len(root.items) <= 1:
            root = root.items[0] if root.items else _Node([], [], True)
        return self._of(root, self._size - 1)

    def _find(self, key: K) -> tuple[_Node, int] | None:
        node = self._root
        while not node.is_leaf:
            node = node.items[bisect_right(node.keys, key, 1) - 1]
        at = bisect_left(node.keys, key)
        return (node, at) if at < len(node.keys) and node.keys[at] == key else None


def _walk(node: _Node, start: Any) -> Iterator[tuple[Any, Any]]:
    if node.is_leaf:
        at = 0 if start is None else bisect_left(node.keys, start)
        yield from zip(node.keys[at:], node.items[at:], strict=True)
        return
    at = 0 if start is None else bisect_right(node.keys, start, 1) - 1
    yield from _walk(node.items[at], start)
    for child in node.items[at + 1 :]:
        yield from _walk(child, None)


def _set(node: _Node, key: Any, value: Any) -> tuple[list[_Node], int]:
    """What takes the node's place, one node or two, and how many keys came to it."""
    items = node.items.copy()
    if node.is_leaf:
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            items[at] = value
            return [_Node(node.keys, items, True)], 0
        keys = node.keys.copy()
        keys.insert(at, key)
        items.insert(at, value)
        return _split(keys, items, True), 1
    at = bisect_right(node.keys, key, 1) - 1
    parts, added = _set(items[at], key, value)
    if len(parts) == 1:
        items[at] = parts[0]
        return [_Node(node.keys, items, False)], added
    items[at : at + 1] = parts
    keys = node.keys.copy()
    keys.insert(at + 1, parts[1].keys[0])
    return _split(keys, items, False), added


def _split(keys: list[Any], items: list[Any], is_leaf: bool) -> list[_Node]:
    if len(keys) <= WIDTH:
        return [_Node(keys, items, is_leaf)]
    middle = len(keys) // 2
    return [_Node(keys[:middle], items[:middle], is_leaf), _Node(keys[middle:], items[middle:], is_leaf)]


def _delete(node: _Node, key: Any) -> _Node:
    """The node without a key that it has; it may be empty then."""
    keys, items = node.keys, node.items.copy()
    if node.is_leaf:
        at = bisect_left(keys, key)
        del items[at]
        return _Node(keys[:at] + keys[at + 1 :], items, True)
    at = bisect_right(keys, key, 1) - 1
    child = items[at] = _delete(items[at], key)
    if not child.items:
        del items[at]
        return _Node(keys[:at] + keys[at + 1 :], items, False)
    if len(child.items) < THIN and len(items) > 1:
        left = max(at - 1, 0)
        a, b = items[left], items[left + 1]
        if len(a.items) + len(b.items) <= WIDTH:
            # A branch's own first key may be out of date; its parent's is not.
            joined = a.keys + (b.keys if b.is_leaf else [keys[left + 1], *b.keys[1:]])
            items[left : left + 2] = [_Node(joined, a.items + b.items, a.is_leaf)]
            return _Node(keys[: left + 1] + keys[left + 2 :], items, False)
    return _Node(keys, items, False)
