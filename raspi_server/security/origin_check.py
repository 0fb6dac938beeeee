"""The check that a request comes from a page of this server, and the way to mend a proxy's mistake.

A proxy that changes `Host` makes each request of our own pages look like one of another site."""

from ..config import origins
from ..config.origins import Origin


def is_own(origin: Origin, scheme: str, host: str) -> bool:
    """Return True if the page at `origin` is one of the server that `scheme` and `host` address.

    With HTTPS a page loaded by plain HTTP counts as another site, since it could have been altered
    on the way. The reverse is allowed: a proxy may serve HTTPS in our name."""
    if scheme == "https" and origin.scheme != "https":
        return False
    return origins.addressed(origin.scheme, host) == origin


def refusal(text: str, scheme: str, host: str, peer: str) -> str:
    """Return why a request is refused, with both sides, and the lines that mend it.

    `text` is the page's `Origin`, `peer` the address that the request came from."""
    shown = text[:80] if text.isprintable() and text else "an unknown place"
    words = (
        f"pages of other sites may not do this: the page is from {shown},"
        f" and the request is for {scheme}://{host}"
    )
    page = origins.parse(text)
    if page is None:
        return words
    here = origins.addressed(page.scheme, host)
    if here == page:
        # Any client can cause this: a person must not trust its address because the log says so.
        proxy = f"If a proxy is in between, let it send X-Forwarded-Proto: {page.scheme}"
        return (
            f"{words}. {proxy}, and if {peer} is its address, write below access: in config.yaml"
            f" proxies: [{peer}] (docs/proxies.md)"
        )
    pass_host = (
        "If a proxy is in between, let it pass the address on"
        " (nginx: proxy_set_header Host $http_host; others: docs/proxies.md)"
    )
    if here and here.host == page.host:
        return f"{words}. {pass_host}"
    site = f"If it is another site of yours, write below access: in config.yaml origins: [{page}]"
    return f"{words}. {pass_host}. {site}"
