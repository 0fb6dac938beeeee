"""Trust in this Pi's certificate authority: its certificate in the forms that phones take, a
WebSocket that proves their trust, and the routes of plain HTTP where HTTPS is on."""

import plistlib
import uuid
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from tornado.web import RequestHandler

from ..errors import RequestError
from ..messages import NAME, AuthorityInfo
from ..security.tls import Authority
from .api import ApiHandler
from .context import BUILT_IN_WWW, WebContext
from .openapi import Operation
from .static import Files
from .websocket import RateLimitedSocket

PAGE = "/trust/"
_NO_AUTHORITY = "there is no certificate authority of this Pi's own to trust"


def _authority(context: WebContext) -> Authority:
    """Return the authority of the certificate in use. Raises RequestError if there is none."""
    if context.identity is None or context.identity.authority is None:
        raise RequestError("not-found", _NO_AUTHORITY)
    return context.identity.authority


class AuthorityDetails(ApiHandler):
    """`/trust/authority.json`."""

    is_for_all = True
    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation("The authority to trust", AuthorityInfo)
    }

    def get(self) -> None:
        authority = _authority(self.context)
        self.answer(AuthorityInfo(authority.name, authority.fingerprint))

    head = get


class Certificate(ApiHandler):
    """The authority's certificate: a plain file for Android and computers, a profile for Apple's
    devices (Apple, Configuration Profile Reference: com.apple.security.root)."""

    is_for_all = True
    operations: ClassVar[Mapping[str, Operation]] = {"get": Operation("The certificate", None)}

    def get(self, form: str) -> None:
        authority = _authority(self.context)
        if form == "crt":
            self.set_header("Content-Type", "application/x-x509-ca-cert")
            self.finish(authority.der)
        else:
            self.set_header("Content-Type", "application/x-apple-aspen-config")
            self.finish(profile(authority))

    head = get


def profile(authority: Authority) -> bytes:
    """Return the profile of an authority. It has a fixed id, so a second installation replaces the
    first."""
    id = uuid.uuid5(uuid.NAMESPACE_OID, authority.fingerprint)
    certificate = {
        "PayloadType": "com.apple.security.root",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{NAME}.{id}.authority",
        "PayloadUUID": str(uuid.uuid5(id, "authority")).upper(),
        "PayloadDisplayName": authority.name,
        "PayloadContent": authority.der,
    }
    about = (
        "Lets this device open the pages of this Raspberry Pi. Afterwards switch it on in Settings,"
        " General, About, Certificate Trust Settings."
    )
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"{NAME}.{id}",
            "PayloadUUID": str(id).upper(),
            "PayloadDisplayName": authority.name,
            "PayloadDescription": about,
            "PayloadContent": [certificate],
        }
    )


class Proof(RateLimitedSocket):
    """A WebSocket that opens and closes at once. It opens over TLS only on a device that trusts the
    authority. It sends nothing, so pages of any origin may open it: our own page on plain HTTP is
    another origin."""

    def check_origin(self, origin: str) -> bool:
        return True

    def open(self) -> None:
        self.close(1000)


class TrustFiles(Files):
    """The built-in files of the trust page. Files of the user are not served over plain HTTP. The
    addresses have no version, since plain HTTP serves only `/trust/*`."""

    has_versions = False

    def initialize(self, context: WebContext) -> None:  # type: ignore[override]
        super().initialize(context)
        self._folders = (str(BUILT_IN_WWW),)


class HttpsOnly(ApiHandler):
    """Any other request by plain HTTP where HTTPS is on: pages are redirected to the explanation,
    and programs get the error `https-only`."""

    async def prepare(self) -> None:
        path, host = self.request.path, self.request.host
        for_people = path != "/ws" and not (path + "/").startswith("/api/")
        if self.request.method not in ("GET", "HEAD") or not for_people:
            raise RequestError("https-only", f"expected https: https://{host}{path[:80]}")
        if self.context.identity and self.context.identity.authority:
            self.redirect(f"{PAGE}?to={quote(self.request.uri or '/')}", status=307)
        else:
            self.redirect(f"https://{host}{self.request.uri}", status=307)


ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    (r"/trust/authority\.json", AuthorityDetails),
    (r"/trust/raspi-server\.(crt|mobileconfig)", Certificate),
)
PLAIN_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    *ROUTES,
    (r"/((?:trust(?:/[\w.-]*)?)|icon\.svg)", TrustFiles),
    (r".*", HttpsOnly),
)
