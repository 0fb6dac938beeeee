"""For install.sh: waits until the server that CONFIG describes answers that it is well."""

import json
import ssl
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from raspi_server.config.source import load
from raspi_server.system.logs import legible

MOST = 64 * 1024
"""Bytes of an answer: root does not read on for as long as it is sent something."""
LIMIT = 10.0
"""Seconds; READY has been said by now, and a small Pi is slow at its first handshake."""


def main() -> int:
    config = load(Path(sys.argv[1]))
    scheme = "https" if config.certificate else "http"
    address = config.address or "127.0.0.1"
    host = f"[{address}]" if ":" in address else address
    # Who answers on this machine's own port needs no proof; the certificate may be the user's.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    end = time.monotonic() + LIMIT
    while True:
        try:
            with urlopen(
                f"{scheme}://{host}:{config.port}/api/health", None, 5, context=context
            ) as answer:
                found = json.loads(answer.read(MOST))
            if isinstance(found, dict) and "status" in found:
                # Without a code to look, the status is all that is told.
                is_ok = found["status"] == "ok"
                for reason in found.get("reasons", [] if is_ok else [found["status"]]):
                    print(f"It says: {legible(str(reason))}")
                return 0
            said = json.dumps(found)[:200]
        except HTTPError as error:
            said = error.read(MOST).decode(errors="replace")
        except (URLError, OSError, HTTPException, ValueError, RecursionError) as error:
            said = str(error)
        if time.monotonic() > end:
            print(f"It does not answer as it should: {legible(said)}", file=sys.stderr)
            return 1
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
