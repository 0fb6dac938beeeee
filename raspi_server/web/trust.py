"""Trust in this Pi's certificate authority, and the routes of plain HTTP where HTTPS is on.

The certificate comes in the forms that phones take. A WebSocket proves that a device trusts it.
"""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from tornado.web import RequestHandler

from ..errors import RequestError
from ..messages import NAME, AuthorityInfo
from ..security.hooks import PATH as HOOK_PATH
from ..security.tls import Authority
from .api import ApiHandler
from .context import BUILT_IN_WWW, WebContext
from .openapi import Operation
from .plain import PATH as PLAIN_PATH
from .static import Files
from .websocket import RateLimitedSocket

PAGE = "trust/"
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
        """Answer with name and fingerprint. Raises RequestError if there is no authority."""
        authority = _authority(self.context)
        self.answer(AuthorityInfo(authority.name, authority.fingerprint))

    head = get


class Certificate(ApiHandler):
    """The authority's certificate: a plain file, or a profile for Apple's devices.

    The profile follows Apple's Configuration Profile Reference, com.apple.security.root.
    """

    is_for_all = True
    operations: ClassVar[Mapping[str, Operation]] = {"get": Operation("The certificate", None)}

    def get(self, form: str) -> None:
        """Send the certificate as `crt` or `mobileconfig`. Raises RequestError if there is none."""
        authority = _authority(self.context)
        if form == "crt":
            self.set_header("Content-Type", "application/x-x509-ca-cert")
            self.finish(authority.der)
        else:
            self.set_header("Content-Type", "application/x-apple-aspen-config")
            self.finish(profile(authority))

    head = get


def profile(authority: Authority) -> bytes:
    """Return the profile of an authority.

    Its id depends on the authority alone, so a second installation replaces the first.
    """
    import plistlib  # brings an XML parser along, and is needed once for each iPhone
    import uuid

    own_id = uuid.uuid5(uuid.NAMESPACE_OID, authority.fingerprint)
    certificate = {
        "PayloadType": "com.apple.security.root",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{NAME}.{own_id}.authority",
        "PayloadUUID": str(uuid.uuid5(own_id, "authority")).upper(),
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
            "PayloadIdentifier": f"{NAME}.{own_id}",
            "PayloadUUID": str(own_id).upper(),
            "PayloadDisplayName": authority.name,
            "PayloadDescription": about,
            "PayloadContent": [certificate],
        }
    )


class Proof(RateLimitedSocket):
    """A WebSocket that opens and immediately closes.

    It opens over TLS only on a device that trusts the authority. It sends nothing, so pages of any
    origin may open it: our own page on plain HTTP is another origin.
    """

    def check_origin(self, origin: str) -> bool:
        """Return True."""
        return True

    def open(self) -> None:
        """Close with 1000, which tells the page that the device trusts the authority."""
        self.close(1000)


class TrustFiles(Files):
    """The built-in files of the trust page, and its strings in all languages.

    Files of the user are not served over plain HTTP. The addresses have no version, since plain
    HTTP serves nothing else.
    """

    has_versions = False

    def initialize(self, context: WebContext) -> None:  # type: ignore[override]
        """Take the parts that the handler uses, and only the built-in folder."""
        super().initialize(context)
        self._folders = (str(BUILT_IN_WWW),)


class HttpsOnly(ApiHandler):
    """Any other request by plain HTTP where HTTPS is on.

    Pages are redirected to the explanation, but the plain page to itself: a browser that needs it
    cannot run the explanation. Programs get the error `https-only`.
    """

    async def prepare(self) -> None:
        """Redirect, or raise RequestError. Nothing else is answered."""
        path, host = self.request.path, self.request.host
        for_people = path != "/ws" and not (path + "/").startswith(("/api/", HOOK_PATH))
        if self.request.method not in ("GET", "HEAD") or not for_people:
            raise RequestError("https-only", f"expected https: https://{host}{path[:80]}")
        has_authority = self.context.identity and self.context.identity.authority
        if has_authority and path != PLAIN_PATH:
            # Relative, since a proxy may serve this below a path.
            up = "../" * (path.count("/") - 1) or "./"
            self.redirect(f"{up}{PAGE}?to={quote(self.request.uri or '/')}", status=307)
        else:
            self.redirect(f"https://{host}{self.request.uri}", status=307)


ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    (r"/trust/authority\.json", AuthorityDetails),
    (r"/trust/raspi-server\.(crt|mobileconfig)", Certificate),
)
PLAIN_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    *ROUTES,
    (r"/(trust(?:/[\w.-]*)?|languages/[\w-]+\.json|icon\.svg)", TrustFiles),
    (r".*", HttpsOnly),
)
