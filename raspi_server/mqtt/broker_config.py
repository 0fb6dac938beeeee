"""Where the MQTT broker is and as whom we come there, with all files read that say so."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..config import schema
from ..config.errors import ConfigError, Diagnostic
from ..net.addresses import in_url


@dataclass(frozen=True)
class Account:
    """Where the broker is and as whom we come. Two are equal if nothing of that differs."""

    host: str
    port: int
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    context: ssl.SSLContext | None = field(default=None, compare=False)
    files: tuple[bytes, ...] = field(default=(), repr=False)
    """What stands in the files of the context."""

    def __str__(self) -> str:
        return f"{in_url(self.host)}:{self.port}"


class _Socket(ssl.SSLSocket):
    """Of a handshake that fails nothing stays open: Paho would leave the rest to chance."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def account(mqtt: schema.MqttConfig) -> Account:
    """The account of a configuration, with all its files read. Raises ConfigError, with every file
    that is missing, unreadable, or not what it should be."""
    faults: list[Diagnostic] = []
    contents: dict[str, bytes] = {}
    for key in ("password_file", "ca", "certificate", "key"):
        file = getattr(mqtt, key)
        if file is None:
            continue
        try:
            contents[key] = file.read_bytes()
        except OSError as error:
            message = f"expected a file that can be read: {error.strerror}"
            faults.append(Diagnostic(str(file), None, f"mqtt.{key}", message))
    if faults:
        raise ConfigError(faults)
    url = urlsplit(mqtt.url)
    password = contents.pop("password_file", None)
    return Account(
        host=str(url.hostname),
        port=url.port or (8883 if url.scheme == "mqtts" else 1883),
        user=mqtt.user,
        password=None if password is None else password.rstrip(b"\r\n"),
        context=_context(mqtt) if url.scheme == "mqtts" else None,
        files=tuple(contents.values()),
    )


def _context(mqtt: schema.MqttConfig) -> ssl.SSLContext:
    """TLS 1.2 and later; the broker's certificate must be good for its name."""
    try:
        context = ssl.create_default_context(cafile=mqtt.ca)
    except ssl.SSLError:
        raise _fault(mqtt, "ca", "expected certificates in PEM format") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Socket
    if mqtt.certificate is None:
        return context

    def refuse_passphrase() -> bytes:  # OpenSSL would ask for it on the terminal
        raise _fault(mqtt, "key", "expected a key without a passphrase")

    try:
        context.load_cert_chain(mqtt.certificate, mqtt.key, password=refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"expected the key of {mqtt.certificate}, got another"
            raise _fault(mqtt, "key", message) from None
        message = "expected a certificate and its key in PEM format"
        raise _fault(mqtt, "certificate", message) from None
    return context


def _fault(mqtt: schema.MqttConfig, key: str, message: str) -> ConfigError:
    return ConfigError([Diagnostic(str(getattr(mqtt, key)), None, f"mqtt.{key}", message)])
