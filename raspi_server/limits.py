"""Limits and timeouts of the server, in one frozen value. config.yaml does not name them; tests
give others, so that none has to wait a minute."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Each field carries its unit: `_s` are seconds. The reason for a number stands below it."""

    # server, status, broadcaster

    idle_timeout_s: float = 60.0
    """For a silent connection, a handshake, and the head of a request."""
    body_timeout_s: float = 20.0
    """For the body of a request."""
    max_head_bytes: int = 16 * 1024
    """Size of the head of a request."""
    poll_interval_s: float = 1.0
    """Between two reads of the inputs, for edges that got lost, and two attempts to open a failed
    pin. While a viewer is connected, a longer interval of the broadcast counts for the inputs."""
    health_interval_s: float = 5.0
    """Between two health messages to viewers."""
    certificate_check_interval_s: float = 60.0
    """A certificate expires, and the clock of a Pi is right only some time after the start."""
    close_timeout_s: float = 1.0
    """For viewers and the broker to answer when the server stops."""
    late_after_s: float = 2.0
    late_after_intervals: int = 3
    """Time without a broadcast while a viewer is connected, after which it has failed: the longer
    of the two."""

    # web

    max_messages_per_s: int = 50
    message_burst: int = 100
    """Of one WebSocket, or of the broker. Frames, in fact: messages, their parts, pings, pongs."""
    close_frame_timeout_s: float = 1.0
    """For the close frame to reach a client that sends too much, before the connection ends: closed
    at once, the unread rest would reset the connection and take the frame along."""

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
