#!/usr/bin/python3 -u
"""Server in the guest that runs commands for the tests on the host.

It can be reached only through the port that qemu forwards from the host's 127.0.0.1."""

import fcntl
import io
import os
import socketserver
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any
from xmlrpc.client import Binary
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer


class Handler(SimpleXMLRPCRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing: tests read the journal."""


class Agent(socketserver.ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True


def run(command: str) -> tuple[int, Binary]:
    """Run a shell command; return its exit status and the output of both streams."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, Binary(done.stdout)


def read(file: str) -> Binary:
    return Binary(Path(file).read_bytes())


def write(file: str, content: Binary) -> bool:
    Path(file).write_bytes(content.data)
    return True


def unpack(folder: str, archive: Binary) -> bool:
    """Unpack a tar archive in a folder."""
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as tar:
        tar.extractall(folder)
    return True


LINES = [line for line in range(2, 28) if line != 8]  # the kernel holds GPIO8 (gpio-setup)
GET_LINES = 0xC250B407
AS_INPUT = 1 << 2


def reset_lines() -> bool:
    """Make each line an input with its pull at power-on. Fails if a line is in use."""
    request = bytearray(592)  # linux/gpio.h: struct gpio_v2_line_request
    struct.pack_into(f"={len(LINES)}I", request, 0, *LINES)
    struct.pack_into("=Q", request, 288, AS_INPUT)
    struct.pack_into("=I", request, 560, len(LINES))
    with open("/dev/gpiochip0", "rb+", buffering=0) as chip:
        fcntl.ioctl(chip, GET_LINES, request)
    os.close(*struct.unpack_from("=i", request, 588))
    for line in LINES:
        pull = "pull-up" if line < 9 else "pull-down"
        Path(f"/run/gpio-sim/sim_gpio{line}/pull").write_text(pull)
    return True


agent = Agent(("0.0.0.0", 8099), Handler)
functions: list[Any] = [run, read, write, unpack, reset_lines]
for function in functions:
    agent.register_function(function)
agent.serve_forever()
