"""TLS context and identity of the server, made from a certificate and its key."""

import hashlib
import logging
import ssl
from typing import Any, NamedTuple

from ..config.schema import CertificateFiles
from ..errors import Reason, reason
from . import key_exchange

_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""Ciphers for TLS 1.2: those of Mozilla's intermediate profile, version 5.7
(wiki.mozilla.org/Security/Server_Side_TLS), without DHE, which no browser needs. For TLS 1.3
OpenSSL's own are Mozilla's. The groups of the key exchange are in key_exchange.py."""

_EXPIRED = 10
_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL's x509_vfy.h."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of the same file."""
AUTHORITY_FILE = "ca.crt"
"""File of the authority's certificate, which scripts/make-cert.sh puts beside the server's."""

ONE_GROUP = (
    f"TLS agrees to P-256 alone: expected {key_exchange.GROUPS}, and this Python"
    f" ({ssl.OPENSSL_VERSION}) takes no list of groups; clients without P-256 cannot connect"
)

log = logging.getLogger(__name__)


class CertificateError(ValueError):
    """A certificate or key that is missing, unreadable, or not of the same pair."""


def server_context(pair: CertificateFiles) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and later, as strict as Mozilla's intermediate profile.

    Raise CertificateError."""
    for kind, file in (("certificate", pair.certificate), ("key", pair.key)):
        try:
            file.open("rb").close()
        except OSError as error:
            message = f"{file}: the {kind} cannot be read: {error.strerror}"
            raise CertificateError(message) from None
    key_exchange.prepare()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # Tickets stay: their key is made for this context and lives in memory alone, TLS 1.3 agrees on
    # new secrets all the same, and without them OpenSSL would keep 1 KiB for each client.
    context.options |= ssl.OP_NO_RENEGOTIATION

    def reject_passphrase() -> bytes:  # OpenSSL would ask for it on the terminal
        raise CertificateError(f"{pair.key}: expected a key without a passphrase")

    try:
        context.load_cert_chain(pair.certificate, pair.key, password=reject_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"{pair.key}: expected the key of {pair.certificate}, got another"
        else:
            reason = (error.reason or "not in PEM format").lower().replace("_", " ")
            message = f"{pair.certificate}, {pair.key}: expected PEM files: {reason}"
        raise CertificateError(message) from None
    if not key_exchange.restrict(context):
        log.warning("%s", ONE_GROUP)
    return context


class Authority(NamedTuple):
    """The certificate authority of this Pi, which people have to add to each phone."""

    name: str
    der: bytes

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint as phones show it, in hexadecimal pairs."""
        return hashlib.sha256(self.der).digest().hex(":").upper()


class Identity(NamedTuple):
    """The server's certificate, ready to serve with."""

    pair: CertificateFiles
    context: ssl.SSLContext
    authority: Authority | None
    """None for a certificate of an authority that phones know, or that is not in our folder."""
    chain: str
    """The certificate as it was read: checking it later needs no file descriptor."""

    def validity_error(self) -> Reason | None:
        """Return the reason why the certificate is not valid now, or None if it is."""
        client = _client_context()
        client.load_verify_locations(cadata=self.chain)
        error = _verification_error(client, self.context)
        if error is None:
            return None
        if error.verify_code == _EXPIRED:
            return reason("certificate-expired")
        if error.verify_code == _NOT_YET_VALID:
            return reason("certificate-early")
        return reason("certificate-faulty", why=error.verify_message)


def identity(pair: CertificateFiles) -> Identity:
    """Return the identity of a certificate and its key. Raise CertificateError."""
    context = server_context(pair)
    try:
        chain = pair.certificate.read_bytes().decode("ascii", "ignore")
    except OSError as error:
        message = f"{pair.certificate}: the certificate cannot be read: {error.strerror}"
        raise CertificateError(message) from None
    return Identity(pair, context, _authority(pair, context), chain)


def _authority(pair: CertificateFiles, context: ssl.SSLContext) -> Authority | None:
    """Return the authority whose certificate is beside the server's, if it has signed it."""
    client = _client_context()
    client.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        text = pair.certificate.with_name(AUTHORITY_FILE).read_text(encoding="ascii")
        client.load_verify_locations(cadata=text)
        der = ssl.PEM_cert_to_DER_cert(text)
    except (OSError, ValueError):  # no file, or not a certificate; ssl.SSLError is an OSError
        return None
    if _verification_error(client, context):
        return None
    subject: Any = client.get_ca_certs()[0]["subject"]
    names = [value for ((key, value), *_) in subject if key == "commonName"]
    return Authority(names[0] if names else AUTHORITY_FILE, der)


def _client_context() -> ssl.SSLContext:
    """Return a client's context that trusts no authority yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _verification_error(
    client_context: ssl.SSLContext, context: ssl.SSLContext
) -> ssl.SSLCertVerificationError | None:
    """Return the error with which a client rejects a server's certificate, or None.

    The handshake takes place in memory."""
    client_in, server_in = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(client_in, server_in)
    server = context.wrap_bio(server_in, client_in, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error
    return None
