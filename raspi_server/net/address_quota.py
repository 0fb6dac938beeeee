"""Per-address quota.

If an address has too many items, its own oldest is evicted. No other address loses one."""

from collections.abc import Container
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class AddressQuota(Generic[_Item]):
    """Items by address, the oldest first. `exempt` addresses may have any number."""

    def __init__(self, exempt: Container[str]) -> None:
        self._exempt = exempt
        self._items: dict[str, dict[_Item, None]] = {}

    def add(self, address: str, item: _Item, limit: int) -> _Item | None:
        """Add an item, the newest of its address.

        If the address has more than `limit` items now, remove and return its oldest."""
        items = self._items.setdefault(address, {})
        items[item] = None
        if len(items) <= limit or address in self._exempt:
            return None
        oldest = next(iter(items))
        del items[oldest]
        return oldest

    def remove(self, address: str, item: _Item) -> None:
        """Remove an item, if it is still here."""
        items = self._items.get(address, {})
        items.pop(item, None)
        if not items:
            self._items.pop(address, None)

    def oldest_of_largest(self) -> _Item | None:
        """Return the oldest item of the address with most items, or None without any items."""
        largest: dict[_Item, None] = max(self._items.values(), key=len, default={})
        return next(iter(largest), None)
