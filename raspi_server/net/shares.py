"""What each address may have of something: of more, its own oldest goes, so that nobody else has
to. This machine itself, where the owner may run a proxy, may have any number."""

from typing import Generic, TypeVar

THIS_MACHINE = ("127.0.0.1", "::1")

_Thing = TypeVar("_Thing")


class Shares(Generic[_Thing]):
    """Things by address, the oldest first."""

    def __init__(self) -> None:
        self._of: dict[str, dict[_Thing, None]] = {}

    def add(self, address: str, thing: _Thing, most: int) -> _Thing | None:
        """Return the address's oldest, taken out, if it has more than `most` now."""
        share = self._of.setdefault(address, {})
        share[thing] = None
        if len(share) <= most or address in THIS_MACHINE:
            return None
        oldest = next(iter(share))
        del share[oldest]
        return oldest

    def remove(self, address: str, thing: _Thing) -> None:
        """Take out what may have gone already."""
        share = self._of.get(address, {})
        share.pop(thing, None)
        if not share:
            self._of.pop(address, None)

    def oldest_of_fullest(self) -> _Thing | None:
        """Return the oldest of the address that has most, or None where nobody has any."""
        fullest: dict[_Thing, None] = max(self._of.values(), key=len, default={})
        return next(iter(fullest), None)
