"""nginx with one worker, serving the same folder with its texts compressed beforehand."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from raspi_server.limits import DEFAULT

from .process import Command, free_port

CONFIG = """daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    types {{
        text/html html; text/css css; text/javascript js; image/svg+xml svg; image/png png;
        application/manifest+json webmanifest;
    }}
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    gzip_static on;
    gzip_vary on;
    server_tokens off;
    client_body_temp_path {folder}/nginx; proxy_temp_path {folder}/nginx;
    fastcgi_temp_path {folder}/nginx; uwsgi_temp_path {folder}/nginx; scgi_temp_path {folder}/nginx;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        add_header Cache-Control no-cache;
    }}
}}
"""
MIN_GZIP_BYTES = DEFAULT.min_gzip_bytes  # as with ours


def find() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def command(folder: Path, www: Path) -> Command:
    """Return the command to serve a copy of the pages, with compressed forms beside them."""
    root, port = folder / "pages", free_port()
    if not root.exists():
        shutil.copytree(www, root)
        for file in root.rglob("*"):
            if file.is_file() and file.suffix != ".png" and file.stat().st_size >= MIN_GZIP_BYTES:
                packed = gzip.compress(file.read_bytes(), 6, mtime=0)
                file.with_name(f"{file.name}.gz").write_bytes(packed)
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, root=root, port=port))
    program = find()
    assert program is not None
    return Command([program, "-c", config, "-e", "stderr"], port=port)
