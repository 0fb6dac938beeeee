"""The command line: `run check demo doctor code safe-state`. What only some commands need is
imported there: `safe-state` is in a hurry."""

import argparse
import contextlib
import faulthandler
import logging
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import msgspec

from .. import __version__
from ..config.schema import Config, ConfigError, default_file
from ..config.source import Source
from ..limits import DEFAULT, Limits
from ..system import logs, storage

EXIT_FAILED = 1
EXIT_CANNOT_LISTEN = 75
"""EX_TEMPFAIL of sysexits.h: systemd tries again."""
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: trying again is of no use."""

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None, limits: Limits = DEFAULT) -> int:
    """Returns the exit status; a wrong command line exits with 2 by itself."""
    options = parser().parse_args(arguments)
    options.limits = limits
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload while we start is a start anyway
    try:
        status: int = options.command(options)
    except ConfigError as error:
        logs.complain(str(error))
        return EXIT_CONFIG
    return status


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--port", type=_port, help="instead of the configured one; 0: any free one")
    parser = argparse.ArgumentParser(
        prog="raspi-server", description="The GPIO pins of a Raspberry Pi on any phone in the house"
    )
    parser.add_argument("--version", action="version", version=f"raspi-server {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    file_help = "the configuration (otherwise /etc/raspi-server/config.yaml, or ./config.yaml)"

    run_ = commands.add_parser("run", parents=[common], help="serve the configured pins")
    run_.add_argument("--config", type=Path, metavar="FILE", help=file_help)
    run_.add_argument("--simulate", action="store_true", help="simulated pins, also on a Pi")
    run_.set_defaults(command=run)

    check_ = commands.add_parser("check", help="look for mistakes in a configuration")
    check_.add_argument("file", type=Path, nargs="?", metavar="FILE", help=file_help)
    check_.set_defaults(command=check)

    safe_ = commands.add_parser("safe-state", help="leave the outputs as after a failure")
    safe_.add_argument("--config", type=Path, metavar="FILE", help=file_help)
    safe_.set_defaults(command=safe_state)

    code_ = commands.add_parser("code", help="make access codes, for looking and for switching")
    code_.add_argument("--config", type=Path, metavar="FILE", help=file_help)
    code_.add_argument(
        "--new",
        action="append",
        choices=("view", "control"),
        default=[],
        help="a new code in the place of the old one; who used that is signed out",
    )
    code_.add_argument(
        "--qr",
        nargs="?",
        choices=("view", "control"),
        const="control",
        help="a link and a QR code that sign one more phone in; the code stays",
    )
    code_.set_defaults(command=code)

    doctor_ = commands.add_parser("doctor", help="say what is wrong, and what mends it")
    doctor_.add_argument("--config", type=Path, metavar="FILE", help=file_help)
    doctor_.set_defaults(command=doctor)

    demo_ = commands.add_parser("demo", parents=[common], help="a simulated house to play with")
    demo_.set_defaults(command=demo)
    return parser


def run(options: argparse.Namespace) -> int:
    overrides: dict[str, object] = {}
    if options.port is not None:
        overrides["port"] = options.port
    if options.simulate:
        overrides["gpio"] = "simulated"
    source = Source(options.config or default_file(), overrides)
    try:
        return serve(source.load(), source, limits=options.limits)
    except ConfigError as fault:
        last_good = source.last_good()
        if last_good is None:
            raise
        return serve(last_good, source, fault, options.limits)


def check(options: argparse.Namespace) -> int:
    from ..security import tls

    file = options.file or default_file()
    source = Source(file, {})
    config = source.load()
    warnings = source.warnings
    if source.last_good():
        warnings = warnings + source.warnings
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    scheme = "http"
    if config.certificate:
        scheme = "https"
        try:
            identity = tls.identity(config.certificate)
        except tls.CertificateError as error:
            print(error, file=sys.stderr)
            return EXIT_CONFIG
        complaint = identity.complaint()
        if complaint:
            print(f"warning: {config.certificate.certificate}: {complaint}", file=sys.stderr)
    for secret in config.secret_files:
        if exposure := storage.exposure(secret):
            print(f"warning: {secret}: {exposure.message}: {exposure.remedy}", file=sys.stderr)
    if config.mqtt:
        from ..mqtt.broker_config import account

        account(config.mqtt)
    modes = Counter(type(pin).__struct_config__.tag for pin in config.pins)
    pins = ", ".join(f"{count} {mode}" for mode, count in modes.items()) or "no pins yet"
    print(f"ok: {file}: {scheme} on port {config.port}, {pins}")
    return 0


def safe_state(options: argparse.Namespace) -> int:
    """For systemd's ExecStopPost=, which has the environment say how the server ended."""
    from ..gpio.safe_state import leave_safe

    logs.start("info")
    return 0 if leave_safe(Source(options.config or default_file(), {})) else EXIT_FAILED


def code(options: argparse.Namespace) -> int:
    from .access_code import show

    source = Source(options.config or default_file(), {}, storage.state_folder_of_service())
    return 0 if show(source, options.new, options.qr) else EXIT_FAILED


def doctor(options: argparse.Namespace) -> int:
    from .doctor import examine

    status = 0
    source = Source(options.config or default_file(), {}, storage.state_folder_of_service())
    for finding in examine(source):
        print(finding, flush=True)
        status = EXIT_FAILED if finding.kind == "fault" else status
    return status


def demo(options: argparse.Namespace) -> int:
    from .demo import config

    found = config()
    if options.port is not None:
        found = msgspec.structs.replace(found, port=options.port)
    return serve(found, limits=options.limits)


def serve(
    config: Config,
    source: Source | None = None,
    fault: ConfigError | None = None,
    limits: Limits = DEFAULT,
) -> int:
    """Runs until told to stop; without a `source`, the demo house."""
    import asyncio

    from ..net.listener import CannotListen
    from ..security.tls import CertificateError

    faulthandler.enable()  # a watchdog's SIGABRT leaves every thread's stack in the log
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    logs.start(config.log_level)
    try:
        asyncio.run(_live(config, source, fault, limits))
    except CertificateError as error:
        log.error("%s", error)
        return EXIT_CONFIG
    except CannotListen as error:
        log.error("%s", error)
        return EXIT_CANNOT_LISTEN
    return 0


async def _live(
    config: Config, source: Source | None, fault: ConfigError | None, limits: Limits
) -> None:
    import asyncio

    from ..net.listener import until_free
    from ..server import Server

    if os.environ.get("NOTIFY_SOCKET"):
        await until_free(config.address, config.port)
    server = Server(config, source, fault, limits)
    if source:
        await server.run()
        return
    from .demo import move

    moving = asyncio.create_task(move(server.board))
    try:
        await server.run()
    finally:
        moving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await moving


def _leave(*_: object) -> None:
    """A stop before anything was built, and the server handles signals, is a clean one."""
    sys.exit(0)


def _port(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= int(text) <= 65535:
            return int(text)
    raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
