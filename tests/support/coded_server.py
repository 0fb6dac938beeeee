"""A server with codes, its folders, and the command that makes codes and links."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raspi_server.messages import Right
from raspi_server.security.codes import Codes
from raspi_server.security.sign_in_links import Links
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server
from tests.support.websocket import WebSocketClient

PINS = """
pins:
  lamp: {gpio: 27, mode: output}
  radio: {gpio: 22, mode: output, control: everyone}
"""
CODE = re.compile(r"^ {4}([0-9a-z]{5}-[0-9a-z]{5}-[0-9a-z]{5})$", re.MULTILINE)
TOKEN = re.compile(r"/#token=([\w-]{22})$", re.MULTILINE)


def folders(state: Path, run: Path | None = None) -> dict[str, str]:
    """Return the environment of a server with these folders, by default one for everything."""
    return {**os.environ, "STATE_DIRECTORY": str(state), "RUNTIME_DIRECTORY": str(run or state)}


def new_link(state: Path, right: Right = "control", run: Path | None = None) -> str:
    """Return the fragment of a new link for the code stored in the folder `state`."""
    code_id = Codes(state).id(right)
    assert code_id, "there is no such code"
    return f"/#token={Links(run or state).make(code_id)}"


class CodedServer:
    """A server with a state and a run folder, as under systemd."""

    def __init__(self, folder: Path, access: str) -> None:
        self.state, self.run = folder / "state", folder / "run"
        for each in (self.state, self.run):
            each.mkdir(exist_ok=True)
        self.environment = folders(self.state, self.run)
        self.programs = folder / "bin"
        """All other programs that the command finds: none until a test adds some."""
        self.file = folder / "config.yaml"
        self.file.write_text(f"access: {access}\n{PINS}")
        (folder / "www").mkdir(exist_ok=True)
        arguments = ["run", "--simulate", "--config", str(self.file)]
        self.server = Server(arguments, env=self.environment)

    def command(
        self, *arguments: str, name: str = "code", stdin: int = subprocess.DEVNULL
    ) -> "subprocess.CompletedProcess[str]":
        """Run `raspi-server code …`, or another command."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "raspi_server", name, *arguments]
            + ["--config", str(self.file)],
            env={**self.environment, "PATH": str(self.programs)},
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )

    def new(self, right: Right) -> str:
        """Make a new code, which the server reads, and return it."""
        code = Codes(self.state).renew(right)
        self.reload()
        return code

    def reload(self) -> None:
        """Reload the server and wait until it has."""
        before = self.server.log.count("serving http")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log("serving http", again=before)

    def token(self, right: Right) -> str:
        """Return the token of a new link."""
        return new_link(self.state, right, self.run).partition("=")[2]

    def ask(
        self, method: str, path: str, body: Any = None, source: str = "127.0.0.1", **headers: str
    ) -> Response:
        """Send one request; see `tests.support.http.ask`."""
        return ask(self.server, method, path, body, source, **headers)

    def sign_in(self, code: str, source: str = "127.0.0.1") -> Response:
        """Sign in with a code."""
        return self.ask("POST", "/api/login", {"code": code}, source)

    def cookie(self, code: str) -> str:
        """Return the `Cookie` header of a browser that has signed in."""
        return self.sign_in(code).cookie_header["Cookie"]

    def switch(self, value: int, **headers: str) -> Response:
        """Switch the lamp."""
        return self.ask("PUT", "/api/pins/lamp", {"value": value}, **headers)

    def viewer(self, headers: Mapping[str, str] | None = None) -> WebSocketClient:
        """Open a WebSocket as a browser does: cookies depend on the port in `Host`."""
        host = {"Host": f"127.0.0.1:{self.server.port}"}
        return WebSocketClient(self.server.port, headers={**(headers or {}), **host})
