"""Limits and timeouts of the server, in one frozen value. config.yaml does not name them; tests
give others, so that none has to wait a minute."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Each field carries its unit: `_s` are seconds. The reason for a number stands below it."""

    # web: static files and bodies

    max_body_bytes: int = 32 * 1024
    """Body of a request. The API's longest is a few hundred bytes."""
    file_chunk_bytes: int = 16 * 1024
    """Part of a file that is sent at once: so much waits in memory for a client that does not
    read."""
    min_gzip_bytes: int = 1000
    """Smallest file that is compressed: below, the headers outweigh what is saved."""
    max_page_bytes: int = 256 * 1024
    """Largest text that is compressed, and largest HTML page that gets the present version: above,
    the event loop of a Pi Zero would be held up noticeably. A larger file is sent as it is."""
    max_cache_bytes: int = 1_000_000
    """Compressed files and pages kept in memory; the least recently used are dropped first. The
    dashboard takes 50 kB."""
    max_versioned_files: int = 1000
    """Files and folders in a folder of pages, up to which a version is given to them all: a page
    load reads the times of each, 10 µs on a desk's machine and 150 on a Pi Zero. Where there are
    more, browsers revalidate each file at each load."""


DEFAULT = Limits()
