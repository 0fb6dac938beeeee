"""A server with codes: the folders systemd gives it, and the command that makes codes and links."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from raspi_server.messages import Right
from raspi_server.security.codes import Codes
from raspi_server.security.sign_in_links import Links
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server

PINS = """
pins:
  lamp: {gpio: 27, mode: output}
  radio: {gpio: 22, mode: output, control: everyone}
"""
CODE = re.compile(r"^ {4}([0-9a-z]{5}-[0-9a-z]{5}-[0-9a-z]{5})$", re.MULTILINE)
TOKEN = re.compile(r"/#token=([\w-]{22})$", re.MULTILINE)


def folders(folder: Path) -> dict[str, str]:
    """The environment of a server that keeps all in `folder`."""
    return {**os.environ, "STATE_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": str(folder)}


def new_link(folder: Path, right: Right = "control") -> str:
    """Return the fragment of a new link for the code kept there."""
    id = Codes(folder).id(right)
    assert id, "there is no such code"
    return f"/#token={Links(folder).make(id)}"


class CodedServer:
    """A server with a state and a run folder, as under systemd."""

    def __init__(self, folder: Path, access: str) -> None:
        self.state, self.run = folder / "state", folder / "run"
        self.environment = dict(os.environ)
        for name, each in (("STATE_DIRECTORY", self.state), ("RUNTIME_DIRECTORY", self.run)):
            each.mkdir(exist_ok=True)
            self.environment[name] = str(each)
        self.programs = folder / "bin"
        """All that the command finds of other programs; nothing at first, systemd neither."""
        self.file = folder / "config.yaml"
        self.file.write_text(f"access: {access}\n{PINS}")
        (folder / "www").mkdir(exist_ok=True)
        arguments = ["run", "--simulate", "--config", str(self.file)]
        self.server = Server(arguments, env=self.environment)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`raspi-server code …`."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "raspi_server", "code", *arguments]
            + ["--config", str(self.file)],
            env={**self.environment, "PATH": str(self.programs)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )

    def new(self, right: str) -> str:
        """A new code, which the server takes."""
        made = self.command("--new", right)
        assert made.returncode == 0, made.stderr
        self.reload()
        found = CODE.search(made.stdout)
        assert found
        return found[1]

    def reload(self) -> None:
        before = self.server.log.count("serving http")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log("serving http", again=before)

    def token(self, right: str) -> str:
        """The token of a new link."""
        made = self.command("--qr", right)
        assert made.returncode == 0, made.stderr
        return TOKEN.findall(made.stdout)[0]

    @property
    def kept(self) -> dict[str, Any]:
        """The codes as they are kept."""
        kept: dict[str, Any] = json.loads((self.state / "access.json").read_text())
        return kept

    def make_old(self) -> None:
        """Leaves of the codes what a release kept that knew scrypt only."""
        kept = self.kept
        for code in kept["codes"].values():
            del code["mac"]
        (self.state / "access.json").write_text(json.dumps(kept))
        self.reload()

    def ask(
        self, method: str, path: str, body: Any = None, source: str = "127.0.0.1", **headers: str
    ) -> Response:
        return ask(self.server, method, path, body, source, **headers)

    def sign_in(self, code: str, source: str = "127.0.0.1") -> Response:
        return self.ask("POST", "/api/login", {"code": code}, source)

    def cookie(self, code: str) -> str:
        """Return the headers of a browser that has signed in."""
        return self.sign_in(code).cookie_header["Cookie"]

    def switch(self, value: int, **headers: str) -> Response:
        return self.ask("PUT", "/api/pins/lamp", {"value": value}, **headers)
