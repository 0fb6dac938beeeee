"""Client that subscribes to everything when all Pis are connected: how many states it gets."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .figures import Row
from .rig import Rig
from .subscriber import Subscriber

TIMEOUT_S = 3.0


async def rows(rig: Rig) -> Iterator[Row]:
    """Return what such a client gets. By default Mosquitto drops messages beyond its queue for one
    client. Those within the client's Receive Maximum do not count."""
    truth = await rig.pis.truth()
    pins = sum(map(len, truth.values()))
    found = []
    for receive_maximum, words in (
        (None, "not saying how many it takes"),
        (65535, "taking 65,535"),
    ):
        subscriber = Subscriber(rig.broker.plain_port, "farm/#", receive_maximum=receive_maximum)
        try:
            began = time.monotonic()
            right = await subscriber.view.right(truth, TIMEOUT_S)
            known = pins - subscriber.view.wrong(truth)
        finally:
            await subscriber.close()
        after = "" if right is None else f", after {right - began:.2f} s"
        what = f"latecomer at farm/#, {words}: states known"
        found.append(Row(what, f"{known:,} of {pins:,}{after}"))
    return iter(found)
