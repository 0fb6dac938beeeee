"""The server behind nginx. tests/browser/test_prefix.py has the pages behind a smaller proxy."""

import shutil
import subprocess

import pytest

from tests.support.http import ask
from tests.support.server import free_port
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.peers

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
PREFIX = "/pi"
CONFIG = """
daemon off;
user root;
pid {folder}/nginx.pid;
events {{ worker_connections 100; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "another site"; }}
        location {prefix}/ {{
            proxy_pass http://127.0.0.1:{target}/;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""


def test_everything_works_below_the_prefix(start_server, tmp_path) -> None:
    """Behind nginx, files, viewers and API requests find their way below a prefix."""
    server = start_server("access: {control: everyone}\npins:\n  lamp: {gpio: 27, mode: output}\n")
    port, file = free_port(), tmp_path / "nginx.conf"
    file.write_text(CONFIG.format(folder=tmp_path, port=port, target=server.port, prefix=PREFIX))
    url = f"http://127.0.0.1:{port}"
    command = [NGINX, "-c", file, "-e", "stderr", "-g", "error_log stderr notice;"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as nginx:
        try:
            assert nginx.stderr
            assert any("start worker process " in line for line in nginx.stderr)
            page = ask(url, "GET", f"{PREFIX}/").body.decode()
            (style,) = [part for part in page.split('"') if part.endswith("style.css")]
            assert ask(url, "GET", f"{PREFIX}/{style}").status == 200
            assert ask(url, "GET", "/").body == b"another site"
            host = {"Host": f"127.0.0.1:{port}"}
            with WebSocketClient(port, headers=host, path=f"{PREFIX}/ws") as viewer:
                assert viewer.receive("hello")["state"] == {"lamp": 0}
                put = ask(url, "PUT", f"{PREFIX}/api/pins/lamp", {"value": 1}, Origin=url)
                assert put.status == 200
                assert viewer.receive("change", pin="lamp")["value"] == 1
        finally:
            nginx.terminate()
