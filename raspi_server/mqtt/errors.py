"""Errors between this server and a broker, in words for people.

Numbers in brackets are sections of OASIS' MQTT Version 5.0."""

import socket
import ssl

from .broker_config import BrokerConfig


class BrokerError(Exception):
    """Reason why there is no connection to a broker, in words.

    `is_sudden` is true if the broker ended a connection that it had accepted, without a reason."""

    def __init__(self, words: str, is_sudden: bool = False) -> None:
        super().__init__(words)
        self.is_sudden = is_sudden


def broker_name(config: BrokerConfig) -> str:
    """Return the broker's name for sentences."""
    return f"the broker {config.address}"


def name_timeout(config: BrokerConfig) -> str:
    """Return the words for a name look-up that takes too long."""
    return f"mqtt.url: no name server answers for {config.host}"


def connect_timeout(config: BrokerConfig) -> str:
    """Return the words for a broker that sends no CONNACK.

    amqtt does so, which speaks MQTT 3.1.1 only, if it is asked for version 5."""
    words = "accepts the connection and does not answer: does it speak MQTT 3.1.1 only?"
    return f"{broker_name(config)} {words} {_MQTT_5}"


def ping_timeout(config: BrokerConfig, seconds: int) -> str:
    """Return the words for a broker that has not answered for a keep-alive time of `seconds`."""
    return f"{broker_name(config)} has not answered for {seconds} s"


def internal(config: BrokerConfig) -> str:
    """Return the words for an error of this server."""
    return f"{broker_name(config)}: the connection ended, an internal error: see this server's log"


def connect_failed(config: BrokerConfig, error: BaseException | None) -> str:
    """Return why no connection was made, or why it ended before CONNACK.

    `error` is None if the broker closed it without a reason."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"mqtt.url: no host is called {config.host}, or no name server answers"
    if isinstance(error, ConnectionRefusedError):
        return f"{broker_name(config)} refuses connections: nothing listens there"
    if isinstance(error, PermissionError):
        words = "the service may reach private networks only (systemd/README.md)"
        return f"mqtt.url {config.address}: {words}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_AUTHORITY:
            authority = "an authority that mqtt.ca names, or that this system knows"
            return f"{broker_name(config)}: expected its certificate to be from {authority}"
        return f"{broker_name(config)}: its certificate was rejected: {error.verify_message}"
    words = f"{broker_name(config)} ended the connection at once: {_OTHER_SCHEME}"
    if config.context:  # TLS 1.2 checks the client's certificate in the handshake
        words += f" Does it need another {_OUR_CERTIFICATE}?"
    return _network_error(config, error) or words


def connack_missing(config: BrokerConfig, error: BaseException | None) -> str:
    """Return why a broker ended a connection that was made before it sent CONNACK.

    TLS 1.3 checks the client's certificate after the handshake. The broker's alert about it can be
    lost: the reset that follows may overtake it."""
    if not config.context:
        return connect_failed(config, error)
    words = (
        f"ended the connection after the TLS handshake: does it need another {_OUR_CERTIFICATE}?"
    )
    return _network_error(config, error) or f"{broker_name(config)} {words}"


def connection_lost(config: BrokerConfig, error: BaseException | None) -> str:
    """Return why a connection ended, `error` is None if the broker gave no reason."""
    return _network_error(config, error) or f"{broker_name(config)} ended the connection"


def ended_again(words: str) -> str:
    """Return the words for connections that end again and again, soon after they were made.

    A broker that was stopped refuses the next connection. But Mosquitto 2.0.11 sends no reason to a
    client that another one with its id replaces, and accepts it again."""
    return f"{words} again at once: does another client have our client id? {_OWN_NAME}"


def login_rejected(config: BrokerConfig, reason: int, broker_words: str) -> str:
    """Return the words for a reason in a CONNACK, with the broker's own in brackets."""
    words = _CONNACK_REASONS.get(reason, f"rejects our login ({reason:#x})")
    words = words.format(user=_as_user(config))
    return f"{broker_name(config)} {words}" + _in_brackets(broker_words)


def disconnected(config: BrokerConfig, reason: int, broker_words: str) -> str:
    """Return the words for a reason in a DISCONNECT, with the broker's own in brackets."""
    words = _DISCONNECT_REASONS.get(reason, f"ended the connection ({reason:#x})")
    return f"{broker_name(config)} {words}" + _in_brackets(broker_words)


def not_mqtt_5(config: BrokerConfig) -> str:
    """Return the words for bytes that are no packet of MQTT 5."""
    return f"{broker_name(config)} does not speak MQTT 5: it sent an invalid packet. {_MQTT_5}"


def publish_rejected(config: BrokerConfig, topic: str, reason: int, broker_words: str) -> str:
    """Return the words for a reason in a PUBACK, with the broker's own in brackets."""
    cause = _ACL if reason == 0x87 else f"{reason:#x}"
    words = f"{broker_name(config)} does not let us publish {topic}{_as_user(config)}: {cause}"
    return words + _in_brackets(broker_words)


def message_too_large(config: BrokerConfig, topic: str, size: int) -> str:
    """Return the words for a message of `size` bytes that the broker would not accept."""
    return f"{broker_name(config)} accepts no message of {size} bytes ({topic})"


def subscribe_rejected(config: BrokerConfig, filters: list[str]) -> str:
    """Return the words for a SUBACK that rejects filters."""
    named = ", ".join(filters)
    return f"{broker_name(config)} does not let us subscribe to {named}{_as_user(config)}: {_ACL}"


def retain_unavailable(config: BrokerConfig) -> str:
    """Return the words for a broker that retains no messages."""
    return f"{broker_name(config)} retains no messages: later subscribers miss the present state"


def _network_error(config: BrokerConfig, error: BaseException | None) -> str | None:
    """Return the reason that TLS or the system gives, None if the broker just closed."""
    if error is None or isinstance(error, ssl.SSLEOFError | ConnectionError):
        return None
    if isinstance(error, TimeoutError):
        return f"{broker_name(config)} does not answer"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).lower().replace("_", " ")
        if "wrong version number" in reason or "record layer" in reason:
            words = "speaks no TLS on that port: expected mqtt://, or another port"
            return f"{broker_name(config)} {words}"
        if "certificate required" in reason or "handshake failure" in reason:
            return f"{broker_name(config)} requires a {_OUR_CERTIFICATE}: {reason}"
        if "alert" in reason and ("certificate" in reason or "unknown ca" in reason):
            return f"{broker_name(config)} rejects our {_OUR_CERTIFICATE}: {reason}"
        return f"{broker_name(config)}: TLS failed: {reason}"
    words = str((isinstance(error, OSError) and error.strerror) or error)
    return f"mqtt.url {config.address}: {words[:1].lower()}{words[1:]}"


def _as_user(config: BrokerConfig) -> str:
    return f" as {config.user}" if config.user else " without a name (mqtt.user)"


def _in_brackets(words: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in words[:100])
    return f" ({shown})" if shown else ""


_ACL = "its ACL forbids it"
_MQTT_5 = "This server needs version 5 (docs/mqtt.md)"
_OTHER_SCHEME = "is that port one for mqtt:// or for mqtts://?"
_OUR_CERTIFICATE = "client certificate (mqtt.certificate)"
_OWN_NAME = "each Pi needs a host name or mqtt.topic of its own"
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
"""Codes of OpenSSL's x509_vfy.h for a chain that does not begin with a trusted certificate."""

_CONNACK_REASONS = {
    0x84: "does not speak MQTT 5",
    0x85: "does not accept our client id (mqtt.topic)",
    0x86: "rejects our login{user}: wrong name or password",
    0x87: "rejects our login{user}: wrong name or password, or not authorised",
    0x88: "is not available",
    0x89: "is busy",
    0x8A: "rejects our login{user}: we are banned",
    0x97: "rejects our login: its quota is used up",
    0x9F: "rejects our login: too many connections in a short time",
}
"""Reasons in a CONNACK (3.2.2.2)."""

_DISCONNECT_REASONS = {
    0x87: "ended the connection: not authorised",
    0x8B: "is shutting down",
    0x8D: "ended the connection: it received nothing from us",
    0x8E: f"replaced us by another client with our client id: {_OWN_NAME}",
    0x93: "ended the connection: too many messages at once",
    0x95: "ended the connection: a packet was too large",
    0x98: "ended the connection by its administrator",
}
"""Reasons in a DISCONNECT (3.14.2.1)."""
