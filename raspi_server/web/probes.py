"""Probes by which phones and computers find out whether a network leads to the internet.

Where a Pi is the access point, and its DNS answers all names with its own address, they arrive
here. The answer that they expect keeps a phone in the network: it opens no sign-in window, which
could not show our pages. It is fixed and tells nothing about this server."""

from typing import NamedTuple

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from ..messages import HEADERS


class Answer(NamedTuple):
    """The answer that a probe expects: a text, or status 204 without one."""

    text: str = ""
    content_type: str = "text/plain"


_APPLE = Answer("<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>", "text/html")
_NETWORK_MANAGER = Answer("NetworkManager is online\n")
_ANSWERS = {
    ("captive.apple.com", "/hotspot-detect.html"): _APPLE,
    ("captive.apple.com", "/"): _APPLE,
    ("www.apple.com", "/library/test/success.html"): _APPLE,
    ("connectivitycheck.gstatic.com", "/generate_204"): Answer(),
    ("connectivitycheck.android.com", "/generate_204"): Answer(),
    ("clients3.google.com", "/generate_204"): Answer(),
    ("www.google.com", "/generate_204"): Answer(),
    ("www.google.com", "/gen_204"): Answer(),
    ("play.googleapis.com", "/generate_204"): Answer(),
    ("connect.rom.miui.com", "/generate_204"): Answer(),
    ("connectivitycheck.platform.hicloud.com", "/generate_204"): Answer(),
    ("www.msftconnecttest.com", "/connecttest.txt"): Answer("Microsoft Connect Test"),
    ("ipv6.msftconnecttest.com", "/connecttest.txt"): Answer("Microsoft Connect Test"),
    ("www.msftncsi.com", "/ncsi.txt"): Answer("Microsoft NCSI"),
    ("network-test.debian.org", "/nm"): _NETWORK_MANAGER,
    ("nmcheck.gnome.org", "/check_network_status.txt"): _NETWORK_MANAGER,
    ("detectportal.firefox.com", "/success.txt"): Answer("success\n"),
    ("detectportal.firefox.com", "/canonical.html"): Answer(
        '<meta http-equiv="refresh"'
        ' content="0;url=https://support.mozilla.org/kb/captive-portal"/>',
        "text/html",
    ),
}


def answer(request: HTTPServerRequest) -> Answer | None:
    """Return the answer to a probe, or None for any other request."""
    if request.method not in ("GET", "HEAD"):
        return None
    return _ANSWERS.get((request.host_name, request.path))


class Probe(RequestHandler):
    """The answer to a probe."""

    def initialize(self, answer: Answer) -> None:
        """Take the answer."""
        self._answer = answer

    def set_default_headers(self) -> None:
        """Set the headers of every answer."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-store")

    def get(self) -> None:
        """Send the answer."""
        if not self._answer.text:
            self.clear_header("Content-Type")
            self.set_status(204)
            return
        self.set_header("Content-Type", self._answer.content_type)
        self.finish(self._answer.text)

    head = get
