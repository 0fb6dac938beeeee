"""Memory of the rules over a restart in the same boot: one small file in the run folder."""

import logging
import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from ..config.schema import RuleConfig
from ..system import storage
from ..system.logs import LIMITED
from .rules import RuleState, Track

_FILE_NAME = "rules.json"
_MAX_FILE_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class KeptRule(Struct, frozen=True, omit_defaults=True):
    """The state of a rule. `keys` stands for its keys: a rule with other keys is another one."""

    keys: int
    state: RuleState


class KeptRules(Struct, frozen=True, omit_defaults=True):
    """What is kept: the tracks of pins, and the rules by name.

    `stopped` is the moment at which the server stopped, None if it was killed.
    """

    boot: str = ""
    stopped: float | None = None
    tracks: dict[str, Track] = {}
    rules: dict[str, KeptRule] = {}

    def state(self, name: str, config: RuleConfig) -> RuleState | None:
        """Return the state of a rule, or None if it was not there with these keys."""
        kept = self.rules.get(name)
        return kept.state if kept and kept.keys == keys_of(config) else None


def keys_of(config: RuleConfig) -> int:
    """Return a number that stands for the keys of a rule.

    It is that of release 0.8.0, which had no `move`, for a rule without one: holds go on over an
    upgrade.
    """
    keys: dict[str, object] = msgspec.to_builtins(config)
    if not config.move:
        del keys["move"]
    return zlib.crc32(msgspec.json.encode(keys))


class RuleMemory:
    """The file of the boot `boot`. `folder` None keeps nothing."""

    def __init__(self, folder: Path | None, boot: str) -> None:
        self._path = folder / _FILE_NAME if folder else None
        self._boot = boot

    def read(self) -> KeptRules:
        """Return what an earlier process of this boot has kept, else nothing."""
        if self._path is None or not self._boot:
            return KeptRules()
        try:
            found = msgspec.json.decode(storage.read(self._path, _MAX_FILE_BYTES), type=KeptRules)
        except FileNotFoundError:
            return KeptRules()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s: %s; holds of rules begin anew", self._path, error)
            return KeptRules()
        return found if found.boot == self._boot else KeptRules()

    def write(
        self, tracks: Mapping[str, Track], rules: Mapping[str, KeptRule], stopped: float | None
    ) -> None:
        """Replace the file. An error goes to the log."""
        if self._path is None:
            return
        kept = KeptRules(self._boot, stopped, dict(tracks), dict(rules))
        try:
            storage.replace(self._path, msgspec.json.encode(kept), durable=False)
        except OSError as error:
            words = "%s: %s; after a restart holds of rules begin anew"
            log.warning(words, self._path, error.strerror, extra=LIMITED)
