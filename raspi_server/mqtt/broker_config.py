"""Configuration of one broker: address, user and TLS, with the contents of all files it names."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..config import schema
from ..config.errors import ConfigError, Diagnostic
from ..net.addresses import in_url


@dataclass(frozen=True)
class BrokerConfig:
    """Address of a broker and the credentials for it.

    Two are equal if a connection made with either would be the same to the broker."""

    host: str
    port: int
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    context: ssl.SSLContext | None = field(default=None, compare=False)
    """TLS, or None for plain TCP."""
    files: tuple[bytes, ...] = field(default=(), repr=False)
    """Contents of the files in `context`, for the comparison."""

    @property
    def address(self) -> str:
        """Host and port, as in a URL."""
        return f"{in_url(self.host)}:{self.port}"


class _Socket(ssl.SSLSocket):
    """TLS socket that closes itself if its handshake fails. Paho leaves it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def read_broker_config(mqtt: schema.MqttConfig) -> BrokerConfig:
    """Read the files named below `mqtt` and return the broker's configuration.

    Raises ConfigError with every file that is missing, unreadable or in the wrong format."""
    errors: list[Diagnostic] = []
    contents: dict[str, bytes] = {}
    for key in ("password_file", "ca", "certificate", "key"):
        file = getattr(mqtt, key)
        if file is None:
            continue
        try:
            contents[key] = file.read_bytes()
        except OSError as error:
            message = f"expected a file that can be read: {error.strerror}"
            errors.append(Diagnostic(str(file), None, f"mqtt.{key}", message))
    if errors:
        raise ConfigError(errors)
    url = urlsplit(mqtt.url)
    password = contents.pop("password_file", None)
    return BrokerConfig(
        host=str(url.hostname),
        port=url.port or (8883 if url.scheme == "mqtts" else 1883),
        user=mqtt.user,
        password=None if password is None else password.rstrip(b"\r\n"),
        context=_context(mqtt) if url.scheme == "mqtts" else None,
        files=tuple(contents.values()),
    )


def _context(mqtt: schema.MqttConfig) -> ssl.SSLContext:
    """Return a TLS context for version 1.2 and later.

    It checks the name in the broker's certificate. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=mqtt.ca)
    except ssl.SSLError:
        raise _error(mqtt, "ca", "expected certificates in PEM format") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Socket
    if mqtt.certificate is None:
        return context

    def reject_passphrase() -> bytes:  # OpenSSL would ask for it on the terminal
        raise _error(mqtt, "key", "expected a key without a passphrase")

    try:
        context.load_cert_chain(mqtt.certificate, mqtt.key, password=reject_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"expected the key of {mqtt.certificate}, got another"
            raise _error(mqtt, "key", message) from None
        message = "expected a certificate and its key in PEM format"
        raise _error(mqtt, "certificate", message) from None
    return context


def _error(mqtt: schema.MqttConfig, key: str, message: str) -> ConfigError:
    return ConfigError([Diagnostic(str(getattr(mqtt, key)), None, f"mqtt.{key}", message)])
