"""Key exchange groups that the TLS server accepts.

OpenSSL's own list includes ffdhe2048 to ffdhe8192. A replayed ClientHello of 1.2 kB that names
ffdhe8192 costs a hundred times the processor time of one with X25519. Before 3.15 Python can set
one group or none. OpenSSL itself reads a list from its configuration."""

import _ssl
import functools
import ssl
import struct
from typing import Any

GROUPS = "X25519:P-256:P-384"
_GROUP_NUMBERS = {23, 24, 29}
"""The same by their numbers (RFC 8446, 4.2.7)."""
_OTHER_NUMBERS = {
    *range(1, 42),
    *range(256, 261),
    *range(512, 515),
    *range(4587, 4590),
} - _GROUP_NUMBERS
"""All other groups with a number: curves, ffdhe2048 to 8192, ML-KEM alone and with a curve."""

_SETTINGS = b"""
[raspi_server]
ssl_conf = %(ssl_conf)b
[%(ssl_conf)b]
system_default = %(system_default)b
[%(system_default)b]
Groups = %(groups)b
[default]
raspi_server = raspi_server
"""
"""Settings for config(5ssl): each new SSL_CTX executes the commands of system_default. If a command
is there twice, the last one counts."""


def restrict(context: ssl.SSLContext) -> bool:
    """Restrict a server's context, with its certificate loaded, to GROUPS.

    If `prepare` had no effect and Python cannot set them either, allow P-256 only, which all
    browsers offer: clients without it cannot connect, but no handshake is expensive. Return True if
    the context accepts all of GROUPS."""
    set_groups = getattr(context, "set_groups", None)  # Python 3.15
    if set_groups:
        set_groups(GROUPS)
    if _accepts(context, _OTHER_NUMBERS):
        context.set_ecdh_curve("prime256v1")
    return is_whole(context)


def is_whole(context: ssl.SSLContext) -> bool:
    """Return True if a server's context accepts each of GROUPS."""
    return all(_accepts(context, {number}) for number in _GROUP_NUMBERS)


@functools.cache
def prepare() -> None:
    """Make OpenSSL give GROUPS to each context that is created from now on, clients' included.

    The settings of the machine's own openssl.cnf stay. This has no effect if OpenSSL's functions
    cannot be called, as when it is linked statically into Python. `restrict` checks the effect."""
    if hasattr(ssl.SSLContext, "set_groups"):
        return
    try:
        import ctypes

        openssl = ctypes.CDLL(getattr(_ssl, "__file__", None))  # and the libraries linked to it
        _Configuration(openssl).add_groups()
    except (ImportError, OSError, AttributeError):  # no ctypes, no such library, no such function
        return


class _Configuration:
    """The functions of OpenSSL that read configurations (NCONF_new_ex(3), CONF_modules_load(3))."""

    def __init__(self, openssl: Any) -> None:
        from ctypes import c_char_p, c_int, c_ulong, c_void_p

        def function(name: str, result: Any, *arguments: Any) -> Any:
            found = openssl[name]
            found.restype, found.argtypes = result, arguments
            return found

        self._file = function("CONF_get1_default_config_file", c_void_p)
        self._release = function("CRYPTO_free", None, c_void_p, c_char_p, c_int)
        self._new = function("NCONF_new", c_void_p, c_void_p)
        self._load = function("NCONF_load", c_int, c_void_p, c_char_p, c_void_p)
        self._load_bio = function("NCONF_load_bio", c_int, c_void_p, c_void_p, c_void_p)
        self._get = function("NCONF_get_string", c_char_p, c_void_p, c_char_p, c_char_p)
        self._free = function("NCONF_free", None, c_void_p)
        self._buffer = function("BIO_new_mem_buf", c_void_p, c_char_p, c_int)
        self._free_buffer = function("BIO_free", c_int, c_void_p)
        self._apply = function("CONF_modules_load", c_int, c_void_p, c_char_p, c_ulong)
        self._clear_errors = function("ERR_clear_error", None)

    def add_groups(self) -> None:
        """Apply the machine's system_default settings, and GROUPS after them."""
        text = self._text()
        configuration, buffer = self._new(None), self._buffer(text, len(text))
        if self._load_bio(configuration, buffer, None):
            self._apply(configuration, b"raspi_server", 0)
        self._free_buffer(buffer)
        self._free(configuration)
        self._clear_errors()  # else Python's ssl reports them as its own

    def _text(self) -> bytes:
        """Return the machine's settings, followed by ours in the sections that its file names."""
        from ctypes import string_at

        place = self._file()
        file: bytes = string_at(place)
        self._release(place, None, 0)
        names = {b"ssl_conf": b"raspi_server_ssl", b"system_default": b"raspi_server_default"}
        configuration = self._new(None)
        exists = self._load(configuration, file, None)
        if exists:
            section = self._get(configuration, None, b"openssl_conf")
            for name, ours in names.items():
                found = section and self._get(configuration, section, name)
                section = names[name] = found or ours
        self._free(configuration)
        settings = _SETTINGS % {b"groups": GROUPS.encode(), **names}
        return b".include %b\n%b" % (file, settings) if exists else settings


def _accepts(context: ssl.SSLContext, groups: set[int]) -> bool:
    """Return True if a server goes on with a TLS 1.3 client that has only these groups.

    The client has sent no key yet, so nothing is computed."""
    to_server, from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    to_server.write(_client_hello(groups))
    server = context.wrap_bio(to_server, from_server, server_side=True)
    try:
        server.do_handshake()
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:
        return False
    return False


def _client_hello(groups: set[int]) -> bytes:
    """Return one record with a ClientHello of TLS 1.3 (RFC 8446, 4.1.2)."""
    extensions = {
        10: _sized(b"".join(struct.pack("!H", group) for group in sorted(groups))),
        13: _sized(bytes.fromhex("040305030603080708080804080508060809080a080b040105010601")),
        43: b"\x02\x03\x04",  # TLS 1.3 only
        51: _sized(b""),  # no key yet
    }
    listed = b"".join(struct.pack("!H", kind) + _sized(of) for kind, of in extensions.items())
    ciphers = _sized(b"\x13\x01\x13\x02\x13\x03")
    body = b"\x03\x03" + bytes(32) + b"\x00" + ciphers + b"\x01\x00" + _sized(listed)
    return b"\x16\x03\x01" + _sized(b"\x01\x00" + _sized(body))


def _sized(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data
