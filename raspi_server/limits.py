"""Limits and timeouts of the running server that config.yaml does not name.

Tests pass other values, so that no test has to wait a minute."""

import os

import msgspec

_CONNECTION_BYTES = 64 * 1024
"""Memory for a connection under TLS, the kernel's part included."""


def _max_connections() -> int:
    """Return the number of connections that fit into a quarter of the memory.

    That is some 1700 on a Pi Zero. 6144 is the most, since systemd/raspi-server.service limits the
    file descriptors."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(6144, memory // 4 // _CONNECTION_BYTES)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """All limits in one struct.

    A field's name ends with its unit: `_s` for seconds, `_bytes`, or what it counts. The reason for
    a number is below it."""

    # mqtt: the connection to a broker

    mqtt_connect_timeout_s: float = 10.0
    """Time for a TCP connection, for a TLS handshake, and for the broker's CONNACK."""
    mqtt_dial_timeout_s: float = 60.0
    """Time for the name look-up and all of these, at every address of the name."""
    mqtt_keep_alive_s: int = 15
    """Silence, in whole seconds, after which the client sends a PINGREQ. A connection is dead after
    the same time again without an answer. The broker publishes our will after one and a half times
    this time without a packet from us. A broker may ask for another value."""
    mqtt_min_retry_s: float = 0.5
    mqtt_max_retry_s: float = 20.0
    """Wait between two attempts. It doubles each time and is cut by up to a half at random, so that
    a thousand clients that lost one broker do not return in the same moment."""
    mqtt_settled_after_s: float = 30.0
    """Age at which a connection counts as good. The wait after it begins with the shortest one."""
    mqtt_max_unacknowledged: int = 100
    """Messages sent and not acknowledged. A broker may allow fewer."""
    mqtt_max_packet_bytes: int = 64 * 1024
    """Largest packet we accept. The broker is told and does not send larger ones."""
    mqtt_log_interval_s: float = 60.0
    """Time between two log lines about the same kind of message that was dropped or ignored."""
    mqtt_close_timeout_s: float = 1.0
    """Time for the broker to take the last message before the connection is cut."""

    # mqtt: the bridge

    mqtt_max_kept_changes: int = 10_000
    """Changes kept while the broker is unreachable or slow. Beyond that the oldest are dropped."""
    mqtt_max_stale_pins: int = 1000
    """States of pins and schedules that no longer exist, removed at the broker after each
    connection. A hostile client can retain millions there."""
    mqtt_health_interval_s: float = 30.0
    mqtt_announce_within_s: float = 5.0
    """Time within which a Pi announces itself again when Home Assistant has started. It is cut by
    up to a half at random, so that a thousand Pis do not answer in the same moment. A hostile
    client can cause one announcement in that time."""

    # mqtt: the fleet

    fleet_max_pis: int = 5000
    fleet_max_pins_per_pi: int = 40
    fleet_max_pins: int = 50_000
    fleet_max_text_bytes: int = 16 * 1024 * 1024
    """Memory for the texts of all Pis. One wide character makes a text four times as large."""
    fleet_max_description_bytes: int = 64 * 1024
    """Largest description that is read. Its entry is sent whole and is hardly larger."""
    fleet_max_news_bytes: int = 64 * 1024
    """JSON in one `news` message, a quarter of the backlog at which a viewer is closed."""
    fleet_part_bytes: int = 64 * 1024
    """JSON of `/api/fleet` that is encoded in one piece, or somewhat more."""
    fleet_pis_at_once: int = 25
    """Pis subscribed to together. Mosquitto queues at most 1,000 messages for one client and drops
    the rest without a report."""
    fleet_linger_s: float = 60.0
    """Time for which the connection stays open after the last viewer left, or the last request."""
    fleet_news_interval_s: float = 0.05
    """Time between two `news` messages. The first one is sent at once."""
    fleet_ping_interval_s: float = 5.0
    """Time between two keep-alive messages to the viewers."""
    fleet_viewer_check_interval_s: float = 1.0
    """Time between two checks for viewers that are too slow or offline."""
    fleet_first_answer_timeout_s: float = 2.0
    """Time for which a request waits until all Pis have been received."""
    fleet_return_timeout_s: float = 2.0
    """Time after a connection within which a known Pi is received again. Else it is offline."""
    fleet_answer_timeout_s: int = 5
    """Time for a Pi to answer a command, in whole seconds. The broker drops the command then."""

    # net

    max_connections: int = msgspec.field(default_factory=_max_connections)
    """Connections of all addresses together."""
    max_connections_per_address: int = 128
    """A page takes up to seven, and behind a router of its own (Docker, Tailscale's subnet router)
    a whole household has one address."""
    exempt_addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses whose connections are not counted: this machine itself, where the owner may run a
    proxy."""
    max_handshakes_per_address: int = 16
    """TLS handshakes in progress. For one more the oldest is closed: were the newest closed, a
    client that shares an address with an attacker would never get through. The loop computes all
    that arrived in one turn in the next, so 16 at most."""
    large_response_bytes: int = 64 * 1024
    max_large_responses_per_address: int = 4
    """Size above which a response is large, and the number of them that may wait to be read. For
    one more the connection of the oldest is closed. The history of all pins can be a megabyte, and
    waits as a whole."""
    max_head_lines: int = 100
    max_head_parts: int = 200
    """Lines of a request's head, and its arguments and cookies (one more than there are & and ;).
    Each becomes objects of a hundred times its size."""
    shortage_over_after_s: float = 60.0
    """Time without a shortage of connections after which the next shortage is logged again."""
    accepts_per_turn: int = 16
    """Connections accepted before the loop does anything else. With thousands of new connections a
    second, 128 at once made viewers miss a fifth of their states, and accepted no more."""
    accept_retry_interval_s: float = 1.0
    """Pause after the file descriptors have run out; new connections wait in the kernel's queue."""
    listen_backlog: int = 1024
    """Connections that wait in the kernel's queue."""
    spare_descriptors: int = 16
    """File descriptors kept for the server's own files: a page, the certificate, the output
    state."""
    address_timeout_s: float = 30.0
    address_retry_interval_s: float = 0.25
    """Time at a start to wait for an address that is not available yet, and the pause between two
    attempts. An attempt of systemd's costs the start of a whole process."""
    unacknowledged_timeout_s: float = 60.0
    """Time after which the kernel drops a connection whose other end acknowledges nothing: it is
    offline, or fell asleep in the middle of a large page (tcp(7), TCP_USER_TIMEOUT)."""
    connection_send_buffer_bytes: int = 64 * 1024
    connection_receive_buffer_bytes: int = 32 * 1024
    """Kernel buffers of a connection; the kernel reserves twice as much. These are enough for a
    page on Wi-Fi and for a body of 32 KiB. The kernel's own limits are megabytes, and a hundred
    clients that never read would fill them."""
    first_byte_timeout_s: float = 10.0
    """Time to wait for a connection's first byte. Browsers connect in advance, and cope with a
    connection that was closed."""
    max_silent_connections: int = 1024
    max_silent_connections_per_address: int = 32
    """Connections that have sent nothing yet. For one more the oldest is closed: that of the same
    address, or, if there are too many in all, of the address that has most. A client that has
    something to send sends it at once; a browser connects in advance with a few."""
    viewer_send_buffer_bytes: int = 16384
    """Kernel buffer for each viewer. The default holds 2.7 MB: thousands of old states that a phone
    would read when it wakes. A smaller one has no measurable cost."""
    max_viewer_backlog_bytes: int = 256 * 1024
    max_viewer_behind_s: float = 5.0
    """Bytes that may wait for a viewer, and for how long. Beyond either it is closed: reconnecting
    is cheaper."""
    ping_interval_s: float = 20.0
    """Time between two pings. A viewer that has not answered one before the next is closed. Mobile
    networks forget a silent connection after 30 s at the earliest."""
    tls_readiness_check_frames: int = 4
    """Frames to all viewers between two checks for full TLS sockets."""

    # security

    code_attempts: int = 5
    code_retry_interval_s: float = 10.0
    """Wrong codes that one network may send, and the time after which it has one more attempt."""
    max_code_networks: int = 1024
    """Networks whose wrong codes are counted."""
    legacy_code_attempts: int = 3
    legacy_code_retry_interval_s: float = 10.0
    """The same for codes that older releases made, for all networks together: each check takes a Pi
    Zero a second or two."""
    max_sessions_per_code: int = 100
    """Sessions of each of the two codes, 200 in all: the least recently used are ended first.
    Counted by code, so that a client that may only view cannot end a session that may switch."""
    hook_burst: int = 10
    hook_interval_s: float = 1.0
    """Requests for one hook, for all hooks from one network, and for wrong addresses of hooks from
    one network, and the time after which it has one more. A button is pressed no faster."""
    link_lifetime_s: float = 15 * 60.0
    """Time for which a sign-in link is valid; cookies and messages say 15 minutes, too."""
    max_links: int = 32
    """Sign-in links that are valid at once: the oldest are dropped first."""
    file_lock_timeout_s: float = 5.0
    loop_file_lock_timeout_s: float = 0.2
    """Time to wait for another process that changes codes or links: in a command, and on the event
    loop. A command holds the lock for some ms."""

    # system

    heartbeat_interval_s: float = 1.0
    """Time between two health checks of the event loop."""
    stuck_after_s: float = 5.0
    """Time without an answer of the event loop after which the log says what it is doing."""
    timeout_extension_s: float = 10.0
    max_timeout_extension_s: float = 120.0
    """Time that each request to systemd adds while a start or stop takes long, and their sum."""
    notify_timeout_s: float = 0.2
    """Time to wait for room in systemd's notify queue. The next beat sends a lost message again."""
    log_limit_period_s: float = 60.0
    max_log_lines_per_period: int = 5
    """Log lines that clients can cause at one place in the code. More are counted, not written."""

    # server, status, broadcaster

    idle_timeout_s: float = 60.0
    """Time for a silent connection, for a handshake, and for the head of a request."""
    body_timeout_s: float = 20.0
    """Time for the body of a request."""
    max_head_bytes: int = 16 * 1024
    """Size of the head of a request."""
    poll_interval_s: float = 1.0
    """Time between two reads of the inputs, for lost edges, and between two attempts to open a
    failed pin. While a viewer is connected and `interval` is longer, the inputs are read with each
    broadcast instead."""
    health_interval_s: float = 5.0
    """Time between two health messages to viewers."""
    certificate_check_interval_s: float = 60.0
    """Time between two checks of the certificate. It expires, and the clock of a Pi is right only
    some time after the start."""
    close_timeout_s: float = 1.0
    """Time for viewers and the broker to answer when the server stops."""
    late_after_s: float = 2.0
    late_after_intervals: int = 3
    """Time without a broadcast after which it has failed while a viewer is connected: the longer of
    the two."""

    # web

    max_messages_per_s: int = 50
    message_burst: int = 100
    """Rate and burst for one WebSocket, and for the commands of the broker. On a WebSocket each
    frame counts: messages, their parts, pings and pongs."""
    sign_in_timeout_s: float = 10.0
    """Time for which a WebSocket without the right to view may present a code in a message. A page
    does not wait for it: the error comes at once."""
    close_frame_timeout_s: float = 1.0
    """Time for the close frame to reach a client that sends too much. If the connection were closed
    at once, its unread bytes would cause a reset, and the frame would be lost."""

    # web: static files and bodies

    max_body_bytes: int = 32 * 1024
    """Size of the body of a request. The API needs a few hundred bytes."""
    file_chunk_bytes: int = 16 * 1024
    """Part of a file that is sent at once. One part waits in memory for a client that does not
    read."""
    min_gzip_bytes: int = 1000
    """Smallest file that is compressed: below, the headers outweigh what is saved."""
    max_page_bytes: int = 256 * 1024
    """Largest text that is compressed, and largest HTML page that gets the present version. A
    larger file is sent as it is: it would block the event loop of a Pi Zero noticeably."""
    max_cache_bytes: int = 1_000_000
    """Size of the compressed files and pages kept in memory. The least recently used are dropped
    first. The dashboard takes 50 kB."""
    max_versioned_files: int = 1000
    """Files and folders in a folder of pages up to which they get a version. A page load reads the
    times of each, which takes 10 µs on a desktop and 150 on a Pi Zero. If there are more, browsers
    revalidate each file at each load."""

    # gpio

    edge_latency_s: float = 0.02
    """Time for an edge to come from the kernel to the loop. If a level was read and no edge has
    reported it by then, the edge is lost."""
    output_state_save_interval_s: float = 5.0
    """Time between two writes for `initial: restore`. An SD card wears, and people switch in
    bursts."""
    history_changes_per_pin: int = 1000
    """Changes kept of each pin. One takes 24 bytes: its moment, its value, and a reference to the
    caller. For 28 pins that is 0.7 MB at most, and 70 bytes for each address that switched one."""
    drag_gap_s: float = 1.0
    drag_length_s: float = 10.0
    """Drag of a slider, which sets dozens of levels: those that one caller sets of one pin, each
    within the gap after the last one and all within the length, count as one change, the last.
    www/dashboard/history.js does the same with the changes it receives."""

    # automation

    clock_question_interval_s: float = 30.0
    """Time between two questions to the system whether its clock is right, until it is."""
    automation_check_interval_s: float = 60.0
    """Time within which a change of the time zone is noticed, and a clock that was set where the
    kernel does not tell."""

    # cli: doctor and wait-healthy

    health_timeout_s: float = 5.0
    """Time for one answer of /api/health, so that doctor and install.sh do not hang with the
    server."""
    program_timeout_s: float = 5.0
    """Time for another program that doctor runs."""
    wait_healthy_s: float = 10.0
    """Time within which a server that is READY must answer. The first TLS handshake is slow on a
    small Pi."""


DEFAULT = Limits()
