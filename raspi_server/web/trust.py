"""How a phone comes to trust this Pi: its certificate authority in the forms that phones take, a
WebSocket that proves they do, and what is answered to plain http where https is spoken."""

import plistlib
import uuid
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from tornado.web import RequestHandler

from ..errors import RequestError
from ..messages import NAME, Trust
from ..security.tls import Authority
from .api import ApiHandler
from .context import BUILT_IN_WWW, WebContext
from .openapi import Operation
from .static import Files
from .websocket import Metered

PAGE = "/trust/"
_NO_AUTHORITY = "there is no certificate authority of this Pi's own to trust"


def _authority(context: WebContext) -> Authority:
    """Raises RequestError."""
    if context.identity is None or context.identity.authority is None:
        raise RequestError("not-found", _NO_AUTHORITY)
    return context.identity.authority


class Facts(ApiHandler):
    """`/trust/authority.json`: the name of the authority, with its fingerprint."""

    is_for_all = True
    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation("The authority to trust", Trust)
    }

    def get(self) -> None:
        authority = _authority(self.context)
        self.answer(Trust(authority.name, authority.fingerprint))

    head = get


class Certificate(ApiHandler):
    """The authority's certificate: as such for Android and computers, or as a profile for Apple's
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
    """The same authority gives the same profile: installed twice, it replaces itself."""
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


class Proof(Metered):
    """Opens and closes: a page that gets this far over wss is on a device that trusts us. It says
    nothing else, and so may be asked by our page on plain http, which is another origin."""

    def check_origin(self, origin: str) -> bool:
        return True

    def open(self) -> None:
        self.close(1000)


class TrustFiles(Files):
    """The built-in files of the trust page alone: the user's own may not be for plain http. They
    have no version in their addresses, since plain http serves only `/trust/*`."""

    has_versions = False

    def initialize(self, context: WebContext) -> None:  # type: ignore[override]
        super().initialize(context)
        self._folders = (str(BUILT_IN_WWW),)


class HttpsOnly(ApiHandler):
    """Leads who came by plain http to the page that explains https; programs are told."""

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
    (r"/trust/authority\.json", Facts),
    (r"/trust/raspi-server\.(crt|mobileconfig)", Certificate),
)
PLAIN_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    *ROUTES,
    (r"/((?:trust(?:/[\w.-]*)?)|icon\.svg)", TrustFiles),
    (r".*", HttpsOnly),
)
