"""Somebody subscribes to everything, when all Pis are there: does the broker tell it all?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from .ear import Ear
from .figures import Row
from .rig import Rig

LIMIT = 3.0


async def rows(rig: Rig) -> Iterator[Row]:
    """As Mosquitto comes it drops what is beyond its queue for one client, without a word; what a
    client has said that it takes at once does not count."""
    truth = await rig.crowd.truth()
    pins = sum(map(len, truth.values()))
    found = []
    for at_once, words in ((None, "not saying how many it takes"), (65535, "taking 65,535")):
        ear = Ear(rig.broker.plain_port, "farm/#", at_once=at_once)
        try:
            began = time.monotonic()
            right = await ear.view.right(truth, LIMIT)
            known = pins - ear.view.wrong(truth)
        finally:
            await ear.close()
        after = "" if right is None else f", after {right - began:.2f} s"
        what = f"latecomer at farm/#, {words}: states known"
        found.append(Row(what, f"{known:,} of {pins:,}{after}"))
    return iter(found)
