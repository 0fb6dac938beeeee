"""A certificate and its key into a context to serve with; or what is wrong with them."""

import ssl

from .config import Certificate

_EXPIRED = 10
_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL's x509_vfy.h."""


class CertificateError(ValueError):
    """A certificate or key that is missing, unreadable, or does not fit the other."""


def server_context(pair: Certificate) -> ssl.SSLContext:
    """A context for TLS 1.2 and later. Raises CertificateError."""
    for kind, file in (("certificate", pair.certificate), ("key", pair.key)):
        try:
            file.open("rb").close()
        except OSError as error:
            message = f"{file}: the {kind} cannot be read: {error.strerror}"
            raise CertificateError(message) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION

    def refuse_passphrase() -> bytes:  # OpenSSL would ask for it on the terminal
        raise CertificateError(f"{pair.key}: expected a key without a passphrase")

    try:
        context.load_cert_chain(pair.certificate, pair.key, password=refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"{pair.key}: expected the key of {pair.certificate}, got another"
        else:
            reason = (error.reason or "not in PEM format").lower().replace("_", " ")
            message = f"{pair.certificate}, {pair.key}: expected PEM files: {reason}"
        raise CertificateError(message) from None
    return context


def validity(pair: Certificate, context: ssl.SSLContext) -> str | None:
    """What is wrong with the certificate's dates by this machine's clock, in words, or None.

    A client in memory that trusts just this certificate says so; OpenSSL reads the dates."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(pair.certificate)
    client_in, server_in = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(client_in, server_in)
    server = context.wrap_bio(server_in, client_in, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            if error.verify_code == _EXPIRED:
                return "the certificate has expired"
            if error.verify_code == _NOT_YET_VALID:
                return "the certificate is not yet valid, or the clock is wrong"
            return f"the certificate is not in order: {error.verify_message}"
    return None
