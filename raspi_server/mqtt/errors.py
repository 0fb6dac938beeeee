"""What is in the way between us and an MQTT broker, in words. Numbers in brackets are sections of
OASIS' MQTT Version 5.0."""

import socket
import ssl

from .broker_config import Account


class Trouble(Exception):
    """Why there is no connection, in words."""


def broker(account: Account) -> str:
    return f"the broker {account}"


def no_name_server(account: Account) -> str:
    return f"mqtt.url: no name server says where {account.host} is"


def failed(account: Account, error: BaseException | None) -> str:
    """Why there was no connection, or an end before the broker's first word; None stands for an end
    without a reason."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"mqtt.url: no host is called {account.host}, or no name server answers"
    if isinstance(error, ConnectionRefusedError):
        return f"{broker(account)} refuses connections: nothing listens there"
    if isinstance(error, PermissionError):
        words = "the service may reach private networks only (systemd/README.md)"
        return f"mqtt.url {account}: {words}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_AUTHORITY:
            authority = "an authority that mqtt.ca names, or that this system knows"
            return f"{broker(account)}: expected its certificate to be from {authority}"
        return f"{broker(account)}: its certificate was refused: {error.verify_message}"
    words = f"{broker(account)} ended the connection at once: {_OTHER_URL}"
    return _of_network(account, error) or words


def lost(account: Account, error: BaseException | None, is_early: bool) -> str:
    """Why there is no connection any more; `is_early`: it began a moment ago."""
    words = f"{broker(account)} ended the connection"
    if error is None and is_early:
        # Mosquitto 2.0.11 gives no reason to who is thrown out by another of its name.
        words += f" at once: does another have our client id? {_OWN_NAME}"
    return _of_network(account, error) or words


def refused(account: Account, reason: int, told: str) -> str:
    """By the reason in a CONNACK, and the broker's own words."""
    words = _REFUSALS.get(reason, f"refuses us ({reason:#x})").format(who=_as_whom(account))
    return f"{broker(account)} {words}" + _in_brackets(told)


def let_go(account: Account, reason: int, told: str) -> str:
    """By the reason in a DISCONNECT, and the broker's own words."""
    words = _DISCONNECTS.get(reason, f"ended the connection ({reason:#x})")
    return f"{broker(account)} {words}" + _in_brackets(told)


def not_mqtt_5(account: Account) -> str:
    return f"{broker(account)} does not speak MQTT 5: it sent what is no packet of it"


def not_published(account: Account, topic: str, reason: int, told: str) -> str:
    """By the reason in a PUBACK, and the broker's own words."""
    what = "its ACL is in the way" if reason == 0x87 else f"{reason:#x}"
    words = f"{broker(account)} does not let us publish {topic}{_as_whom(account)}: {what}"
    return words + _in_brackets(told)


def not_subscribed(account: Account) -> str:
    who = _as_whom(account)
    return f"{broker(account)} does not let us subscribe{who}: its ACL is in the way"


def _of_network(account: Account, error: BaseException | None) -> str | None:
    """What TLS or the system says; None where the other side has simply ended it."""
    if error is None or isinstance(error, ssl.SSLEOFError | ConnectionError):
        return None
    if isinstance(error, TimeoutError):
        return f"{broker(account)} does not answer"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).lower().replace("_", " ")
        if "wrong version number" in reason or "record layer" in reason:
            words = "speaks no TLS on that port: expected mqtt://, or another port"
            return f"{broker(account)} {words}"
        if "certificate required" in reason or "handshake failure" in reason:
            return f"{broker(account)} wants a client certificate (mqtt.certificate): {reason}"
        return f"{broker(account)}: TLS failed: {reason}"
    words = str((isinstance(error, OSError) and error.strerror) or error)
    return f"mqtt.url {account}: {words[:1].lower()}{words[1:]}"


def _as_whom(account: Account) -> str:
    return f" as {account.user}" if account.user else " without a name (mqtt.user)"


def _in_brackets(words: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in words[:100])
    return f" ({shown})" if shown else ""


_OTHER_URL = "is that port one for mqtt:// or for mqtts://?"
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
"""Codes of OpenSSL's x509_vfy.h for a chain that does not begin with anything we trust."""

_REFUSALS = {
    0x84: "does not speak MQTT 5",
    0x85: "does not take our client id (mqtt.topic)",
    0x86: "refuses us{who}: a wrong name or password",
    0x87: "refuses us{who}: a wrong name or password, or not authorised",
    0x88: "is not available",
    0x89: "is busy",
    0x8A: "has banned us{who}",
    0x97: "refuses us: its quota is used up",
    0x9F: "refuses us: too many connections in a short time",
}
"""Reasons in a CONNACK (3.2.2.2)."""

_OWN_NAME = "each Pi needs a host name or mqtt.topic of its own"
_DISCONNECTS = {
    0x87: "ended the connection: not authorised",
    0x8B: "is shutting down",
    0x8D: "ended the connection: it heard nothing of us",
    0x8E: f"let another in with our client id: {_OWN_NAME}",
    0x93: "ended the connection: too much at once",
    0x95: "ended the connection: a packet was too large",
    0x98: "ended the connection by its administrator",
}
"""Reasons in a DISCONNECT (3.14.2.1)."""
