"""The server behind real proxies, each set up as docs/proxies.md says."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urljoin

import pytest

from raspi_server.security.codes import Codes
from tests.support.http import HttpClient
from tests.support.server import LIMIT, Server, free_port
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.peers

GUIDE = (Path(__file__).parents[2] / "docs" / "proxies.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+).*?\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL))
CLIENT = "127.0.0.5"
PINS = "\npins: {lamp: {gpio: 27, mode: output}}\n"
NGINX = """
daemon off; user root; pid nginx.pid; error_log stderr;
events {{ worker_connections 100; }}
http {{
access_log off;
client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{}
}}
"""
APACHE = """
ServerRoot /usr/lib/apache2
{}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
Listen 127.0.0.1:{port}
ServerName localhost
"""
KINDS = ("root", "path", "tls")
APACHE_MODULES = ("mpm_event", "authz_core", "headers", "proxy", "proxy_http", "ssl")
HAPROXY = """
defaults
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""


def snippets(name: str) -> list[str]:
    """Return the lines for a proxy: at the root, below /pi/, and at the root with TLS to the Pi."""
    section = SECTIONS[name]
    found = re.findall(r"^```\w+\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    changes = re.findall(r"Below a path, write `(.+?)` in place of `(.+?)`\.", section)
    found += [found[0].replace(before, after) for after, before in changes]
    for lines in re.findall(r"^With TLS to the Pi\b.*?: (`.*?)\n\n", section, re.M | re.DOTALL):
        *more, last = re.findall(r"`(.+?)`", lines)
        before = rf"^ *{last.split()[0]} .*\n"
        found.append(re.sub(before, "\n".join([*more, last, ""]), found[0], count=1, flags=re.M))
    return found


def program(name: str) -> str:
    """Return the path of a program, also of one that only root finds by its name."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, f"{name} is not installed; scripts/test.sh peers installs it"
    return found


def set_up(name: str, kind: str, folder: Path, port: int, target: str, site: str) -> list[str]:
    """Write the settings of a proxy on this port, and return its command.

    `target` is where the server listens, and `site` another one."""
    text = snippets(name)[KINDS.index(kind)]
    text = re.sub(r"(127\.0\.0\.1|192\.168\.1\.7):8080", target, text)
    assert target in text
    file, below = folder / "settings", kind == "path"
    if name == "nginx":
        other = f"location / {{ proxy_pass http://{site}; }}\n" if below else ""
        text = text.replace("    location", f"    {other}    location", 1)
        text = NGINX.format(text.replace("listen 80", f"listen 127.0.0.1:{port}"))
        command = [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file)]
    elif name == "Caddy":
        other = f"    reverse_proxy {site}\n" if below else ""
        text = text.replace("pi.example.org {\n", f"http://127.0.0.1:{port} {{\n{other}")
        text = f"{{\n    admin off\n}}\n{text}"
        command = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
    elif name == "Apache":
        loads = "\n".join(f"LoadModule {m}_module modules/mod_{m}.so" for m in APACHE_MODULES)
        other = f"    ProxyPass / http://{site}/\n</VirtualHost>" if below else "</VirtualHost>"
        text = text.replace("*:80", f"127.0.0.1:{port}").replace("</VirtualHost>", other)
        text = APACHE.format(loads, folder=folder, port=port) + text
        command = [program("apache2"), "-D", "FOREGROUND", "-f", str(file)]
    else:
        other = f"\nbackend site\n    mode http\n    server site {site}\n" if below else ""
        text = HAPROXY + text.replace("bind :80", f"bind 127.0.0.1:{port}") + other
        command = [program("haproxy"), "-db", "-f", str(file)]
    file.write_text(text)
    return command


class AnotherSite(BaseHTTPRequestHandler):
    """The site beside which /pi/ is."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b"another site")

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """The address of another site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), AnotherSite) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def listens(port: int) -> bool:
    """Return True if a program listens on a port."""
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


@contextlib.contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """Run a proxy until the block ends, and wait until it listens on its port."""
    home = {**os.environ, "HOME": str(folder)}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=home, stdout=said, stderr=said)

    try:
        until = time.monotonic() + LIMIT
        while not listens(port):
            assert time.monotonic() < until
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                raise AssertionError((folder / "said").read_text())
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def code(tmp_path: Path) -> str:
    """The control code of `serve`."""
    return Codes(tmp_path).renew("control")


@pytest.fixture
def serve(start_server: Callable[..., Server], tmp_path: Path) -> Callable[[str], Server]:
    """Return `serve(config)`."""
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
    return lambda config: start_server(config + PINS, env=environment)


def use(server: Server, code: str, port: int, prefix: str, client: str) -> None:
    """Use the server through a proxy as a browser does; the log has the address of the `client`."""
    host = f"127.0.0.1:{port}"
    page = {"Origin": f"http://{host}"}
    spoofed = {"X-Forwarded-For": "198.51.100.1", "Forwarded": "for=198.51.100.1"}
    root = f"http://{host}{prefix}/"
    with HttpClient(root, CLIENT) as browser:
        text = browser.ask("GET", f"{prefix}/").body.decode()
        (style,) = [part for part in text.split('"') if part.endswith("style.css")]
        assert browser.ask("GET", urljoin(f"{prefix}/", style)).status == 200
        redirected = browser.ask("GET", f"{prefix}/examples")
        assert urljoin(f"{root}examples", redirected.headers["Location"]) == f"{root}examples/"
        body = {"code": code, "path": f"{prefix}/"}
        answer = browser.ask("POST", f"{prefix}/api/login", body, **page)
        assert (answer.status, answer.cookie["path"]) == (200, prefix or "/")
        assert answer.cookie.key == f"raspi-server-http-{port}"
        cookies = f"{answer.cookie.key}=of-another-site; {answer.cookie_header['Cookie']}"
        headers = {**page, **spoofed, "Host": host, "Cookie": cookies}
        with WebSocketClient(port, address=CLIENT, headers=headers, path=f"{prefix}/ws") as viewer:
            assert viewer.receive("hello")["signed_in"] == "control"
            headers = {name.replace("-", "_"): value for name, value in headers.items()}
            put = browser.ask("PUT", f"{prefix}/api/pins/lamp", {"value": 1}, **headers)
            assert put.status == 200, put.body
            assert viewer.receive("change", pin="lamp")["by"] == client
            assert viewer.command(type="set", pin="lamp", value=0)["type"] == "result"
        for on in ("on", "off"):
            server.wait_for_log(rf"lamp.* {on}, by {re.escape(client)} \(control code\)")
        wrong = browser.ask("POST", f"{prefix}/api/login", {"code": "no"}, **page)
        assert wrong.error[:2] == (401, "sign-in")
        server.wait_for_log(f"{re.escape(client)}: a wrong access code")
        foreign = browser.ask("POST", f"{prefix}/api/logout", Origin="http://evil.example")
        assert foreign.error[:2] == (403, "foreign")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["nginx", "Caddy", "Apache", "HAProxy"])
def test_proxy(
    serve, code: str, certificate: Path, site: str, tmp_path: Path, name: str, kind: str
) -> None:
    """Behind a proxy that is set up as the guide says, page, press, WebSocket and sign-in work, at
    the root, below a path beside another site, and with TLS to the server. The log has the real
    client's address."""
    files = f"{{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}"
    ssl = files if kind == "tls" else "false"
    server, port = serve(f"ssl: {ssl}\naccess: {{proxies: [127.0.0.1]}}"), free_port()
    command = set_up(name, kind, tmp_path, port, f"127.0.0.1:{server.port}", site)
    with running(command, tmp_path, port):
        use(server, code, port, "/pi" if kind == "path" else "", CLIENT)
        if kind == "path":
            with HttpClient(f"http://127.0.0.1:{port}") as browser:
                assert browser.ask("GET", "/").body == b"another site"


def test_ssh(serve, code: str, tmp_path: Path) -> None:
    """Through the guide's `ssh -L` all works, and all who come this way are the Pi itself."""
    (line,) = snippets("ssh")
    server, port, sshd_port = serve(""), free_port(), free_port()
    for key in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key]
        subprocess.run(command, check=True)
    settings = tmp_path / "sshd"
    settings.write_text(f"""\
ListenAddress 127.0.0.1:{sshd_port}
HostKey {tmp_path}/host
AuthorizedKeysFile {tmp_path}/client.pub
StrictModes no
PidFile none
""")
    Path("/run/sshd").mkdir(exist_ok=True)
    options = ["-F", "none", "-p", str(sshd_port), "-i", str(tmp_path / "client")]
    for option in ("StrictHostKeyChecking=no", f"UserKnownHostsFile={tmp_path}/known"):
        options += ["-o", option]
    words = line.replace("8080:127.0.0.1:8080", f"{port}:127.0.0.1:{server.port}").split()
    assert words[-1] == "pi@raspberrypi.local"
    command = [words[0], *options, *words[1:-1], "127.0.0.1"]
    with (
        running([program("sshd"), "-D", "-e", "-f", str(settings)], tmp_path, sshd_port),
        running(command, tmp_path, port),
    ):
        use(server, code, port, "", "127.0.0.1")
