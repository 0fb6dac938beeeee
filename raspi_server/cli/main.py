"""Command line of raspi-server.

A module that only one command needs is imported in that command, to start fast.
"""

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
from ..config.errors import ConfigError
from ..config.schema import Config, InputConfig
from ..config.source import ConfigSource, default_file, load
from ..limits import DEFAULT, Limits
from ..system import logs, storage

EXIT_FAILED = 1
EXIT_CANNOT_LISTEN = 75
"""EX_TEMPFAIL of sysexits.h: systemd starts the service again."""
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd does not start the service again."""

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None, limits: Limits = DEFAULT) -> int:
    """Run the command in `arguments`, or in sys.argv, and return the exit status.

    Raise SystemExit with status 2 for a wrong command line.
    """
    options = parser().parse_args(arguments)
    options.limits = limits
    # SIGHUP means reload. Until the server handles it, it is ignored: the start reads the file.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        status: int = options.command(options)
    except ConfigError as error:
        logs.print_error(error.report)
        return EXIT_CONFIG
    except BrokenPipeError:  # of `raspi-server doctor | head`, for example: the reader has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at the end
        return EXIT_FAILED
    return status


# The commands and their options


def parser() -> argparse.ArgumentParser:
    """Return the parser. Its result has the function to call as `command`."""
    config = argparse.ArgumentParser(add_help=False)
    file_help = "configuration (default: /etc/raspi-server/config.yaml, else ./config.yaml)"
    config.add_argument("--config", type=Path, metavar="FILE", help=file_help)
    port = argparse.ArgumentParser(add_help=False)
    port.add_argument(
        "--port", type=_port, help="port instead of the configured one; 0: any free port"
    )

    parser = argparse.ArgumentParser(
        prog="raspi-server",
        description="Show and switch the GPIO pins of a Raspberry Pi on any phone at home",
    )
    parser.add_argument("--version", action="version", version=f"raspi-server {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    parsed = commands.add_parser("run", parents=[port, config], help="serve the configured pins")
    parsed.add_argument("--simulate", action="store_true", help="simulate the pins, also on a Pi")
    parsed.set_defaults(command=run)

    parsed = commands.add_parser("check", parents=[config], help="find errors in a configuration")
    parsed.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the same as --config")
    parsed.set_defaults(command=check)

    parsed = commands.add_parser(
        "simulate",
        parents=[config],
        help="show what schedules and rules would switch, and when",
        description="Play the schedules and rules over a stretch of time, and print what switches"
        " when and why",
    )
    when = "a local time such as 2026-06-21 or 2026-06-21T18:00 (default: {})"
    parsed.add_argument("--from", dest="begin", metavar="TIME", help=when.format("now"))
    parsed.add_argument("--to", dest="end", metavar="TIME", help=when.format("a day after --from"))
    inputs = "what inputs do, and people: lines such as 2026-06-21T18:00,door,on"
    parsed.add_argument("--inputs", type=Path, metavar="FILE", help=inputs)
    parsed.set_defaults(command=simulate)

    parsed = commands.add_parser(
        "safe-state", parents=[config], help="bring the outputs to their on_failure state"
    )
    parsed.set_defaults(command=safe_state)

    parsed = commands.add_parser(
        "code", parents=[config], help="make access codes for viewing and for switching"
    )
    _add_code_options(parsed)
    parsed.set_defaults(command=code)

    parsed = commands.add_parser(
        "hook",
        parents=[config],
        help="make the secret addresses of the hooks in config.yaml",
        description="List the hooks in config.yaml, or make the secret address of one",
    )
    parsed.add_argument(
        "--new",
        action="append",
        default=[],
        metavar="NAME",
        help="make a new address for the hook NAME; the old one becomes invalid",
    )
    parsed.set_defaults(command=hook)

    parsed = commands.add_parser(
        "doctor", parents=[config], help="find what is wrong, and how to solve it"
    )
    parsed.add_argument(
        "--report",
        action="store_true",
        help="print facts about this Pi for an issue of the project; nothing private is in them",
    )
    parsed.set_defaults(command=doctor)

    parsed = commands.add_parser("demo", parents=[port], help="serve simulated pins to try it out")
    parsed.set_defaults(command=demo)

    parsed = commands.add_parser(
        "wait-healthy",
        parents=[config],
        help="wait until the running server reports its health (for install.sh)",
    )
    parsed.set_defaults(command=wait_healthy)
    return parser


def _add_code_options(code: argparse.ArgumentParser) -> None:
    code.add_argument(
        "--new",
        action="append",
        choices=("view", "control"),
        default=[],
        help="replace the code by a new one; phones that used the old one are signed out",
    )
    code.add_argument(
        "--qr",
        nargs="?",
        choices=("view", "control"),
        const="control",
        help="show a link and a QR code that sign one more phone in; the code stays the same",
    )


def _port(text: str) -> int:
    """Return the port in `text`, 0 to 65535. Raise ArgumentTypeError for other text."""
    with contextlib.suppress(ValueError):
        if 0 <= int(text) <= 65535:
            return int(text)
    raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")


# Each command returns its exit status, and may raise ConfigError


def run(options: argparse.Namespace) -> int:
    """Serve the configured pins, or the last good configuration if the file has errors."""
    overrides: dict[str, object] = {}
    if options.port is not None:
        overrides["port"] = options.port
    if options.simulate:
        overrides["gpio"] = "simulated"
    source = ConfigSource(_file(options), overrides)
    try:
        config = source.load_unchanged() or source.load()
        return serve(config, source, limits=options.limits)
    except ConfigError as error:
        last_good = source.last_good()
        if last_good is None:
            raise
        return serve(last_good, source, error, options.limits)


def check(options: argparse.Namespace) -> int:
    """Print the warnings, a summary and the meaning of inputs and covers, or all errors."""
    from ..config.meaning import meaning, meaning_of_cover
    from ..security import tls

    file = options.file or _file(options)
    source = ConfigSource(file, {})
    config = source.load()
    warnings = source.warnings
    if source.last_good():
        warnings = warnings + source.warnings
    for warning in warnings:
        _warn(str(warning))
    if config.schedules or any(rule.only for rule in config.rules.values()):
        _check_schedules(config, source)
    if config.certificate:
        try:
            identity = tls.identity(config.certificate)
        except tls.CertificateError as error:
            print(error, file=sys.stderr)
            return EXIT_CONFIG
        if date_error := identity.validity_error():
            _warn(f"{config.certificate.certificate}: {date_error}")
    for secret in config.secret_files:
        if exposure := storage.exposure(secret):
            _warn(f"{secret}: {exposure.message}: {exposure.remedy}")
    if config.mqtt:
        from ..mqtt.broker_config import read_broker_config

        read_broker_config(config.mqtt)
    scheme = "https" if config.certificate else "http"
    modes = Counter(type(pin).__struct_config__.tag for pin in config.pins)
    pins = ", ".join(f"{count} {mode}" for mode, count in modes.items()) or "no pins yet"
    if covers := len(config.covers):
        pins += f", {covers} cover{'s' * (covers > 1)}"
    print(f"ok: {file}: {scheme} on port {config.port}, {pins}")
    for pin in config.pins:
        if isinstance(pin, InputConfig):
            print(f"    {meaning(pin)}")
    for cover in config.covers:
        print(f"    {meaning_of_cover(cover, {pin.name: pin for pin in config.pins})}")
    return 0


def _check_schedules(config: Config, source: ConfigSource) -> None:
    """Print the next times of the schedules. Raise ConfigError for what a year of them shows.

    A warning names the days on which a rule has no window.
    """
    from ..automation.forecast import Forecast

    forecast = Forecast(config)
    found = [(each, each.at(str(source.file), source.lines)) for each in forecast.problems()]
    for problem, diagnostic in found:
        if not problem.is_error:
            _warn(str(diagnostic))
    if errors := [diagnostic for problem, diagnostic in found if problem.is_error]:
        raise ConfigError(errors)
    for line in forecast.next_times():
        print(line)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def simulate(options: argparse.Namespace) -> int:
    """Print what the schedules and rules switch over a stretch of time."""
    from .simulate import show

    is_shown = show(_file(options), options.begin, options.end, options.inputs)
    return 0 if is_shown else EXIT_FAILED


def safe_state(options: argparse.Namespace) -> int:
    """Bring the outputs to the state that `on_failure` names.

    systemd runs this as ExecStopPost=, with the server's exit status in environment variables.
    """
    from ..gpio import failure_plan, safe_state

    logs.start("info")
    if safe_state.is_clean_end():
        return 0
    outputs = failure_plan.from_configuration(ConfigSource(_file(options), {}))
    return 0 if safe_state.apply(outputs) else EXIT_FAILED


def code(options: argparse.Namespace) -> int:
    """Make or list access codes, links and QR codes."""
    from .access_code import show

    return 0 if show(_source_of_service(options), options.new, options.qr) else EXIT_FAILED


def hook(options: argparse.Namespace) -> int:
    """Make or list the addresses of hooks."""
    from .hook import show

    return 0 if show(_source_of_service(options), options.new) else EXIT_FAILED


def doctor(options: argparse.Namespace) -> int:
    """Print the findings of all checks; fail if one is an error. Or print a report."""
    if options.report:
        from . import report

        for line in report.lines():
            print(line, flush=True)
        return 0
    from .doctor import Doctor

    status = 0
    for finding in Doctor(_source_of_service(options), options.limits).examine():
        print(finding.line(), flush=True)
        if finding.kind == "error":
            status = EXIT_FAILED
    return status


def demo(options: argparse.Namespace) -> int:
    """Serve simulated pins."""
    from .demo import config

    found = config()
    if options.port is not None:
        found = msgspec.structs.replace(found, port=options.port)
    return serve(found, limits=options.limits)


def wait_healthy(options: argparse.Namespace) -> int:
    """Wait until the running server reports its health; fail if it does not."""
    from .wait_healthy import wait_healthy

    config = load(_file(options))
    return 0 if wait_healthy(config, options.limits) else EXIT_FAILED


def _file(options: argparse.Namespace) -> Path:
    """Return the configuration file that the command line names, or the default one."""
    file: Path = options.config or default_file()
    return file


def _source_of_service(options: argparse.Namespace) -> ConfigSource:
    """Return the configuration, with the state folder of the installed service."""
    return ConfigSource(_file(options), {}, storage.state_folder_of_service())


# The server


def serve(
    config: Config,
    source: ConfigSource | None = None,
    error: ConfigError | None = None,
    limits: Limits = DEFAULT,
) -> int:
    """Serve until a signal stops the server, and return the exit status.

    `source` is read at each reload; None means the demo. `error` is the reason why `config` is not
    from the file of `source`.
    """
    import asyncio

    from ..net.listener import ListenError
    from ..security.tls import CertificateError

    faulthandler.enable()  # logs all stacks on SIGABRT, which systemd's watchdog sends
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    logs.start(config.log_level, limits)
    try:
        asyncio.run(_serve(config, source, error, limits))
    except CertificateError as failure:
        log.error("%s", failure)
        return EXIT_CONFIG
    except ListenError as failure:
        log.error("%s", failure)
        return EXIT_CANNOT_LISTEN
    return 0


async def _serve(
    config: Config, source: ConfigSource | None, error: ConfigError | None, limits: Limits
) -> None:
    import asyncio

    from ..net.listener import until_free
    from ..server import Server

    if os.environ.get("NOTIFY_SOCKET"):
        await until_free(config.address, config.port, limits)
    server = Server(config, source, error, limits)
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


def _exit(*_: object) -> None:
    """Exit with status 0 on a signal that comes before the server handles signals itself."""
    sys.exit(0)
