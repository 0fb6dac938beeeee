"""A server whose configuration file a test edits and reloads."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.http import ask
from tests.support.server import Server


class Pi:
    """A server with simulated pins, which listens on the port of its configuration file."""

    def __init__(
        self,
        folder: Path,
        text: str,
        before_exec: Callable[[], None] | None = None,
        program: tuple[str, str] = ("-m", "raspi_server"),
        **environment: str,
    ) -> None:
        self.file = folder / "config.yaml"
        self.file.write_text(text)
        self.options: dict[str, Any] = {
            "env": {**os.environ, **environment},
            "preexec_fn": before_exec,
            "program": program,
        }
        self.server = self.start()

    def start(self) -> Server:
        arguments = ["run", "--simulate", "--config", str(self.file)]
        self.server = Server(arguments, port=None, **self.options)
        return self.server

    def reload(self, text: str | None = None) -> None:
        """Replace the file in one step, as editors do, and send SIGHUP."""
        if text is not None:
            edited = self.file.with_suffix(".edited")
            edited.write_text(text)
            edited.replace(self.file)
        self.server.process.send_signal(signal.SIGHUP)

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        response = ask(self.server, "GET", path)
        assert response.status == 200, response
        return response.json
