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

    # gpio

    edge_latency_s: float = 0.02
    """For an edge to come from the kernel through lgpio's thread to the loop. After it, a level
    that was read but not reported counts as an edge that was lost."""
    output_state_save_interval_s: float = 5.0
    """Between two writes for `initial: restore`: an SD card wears, people switch in bursts."""
    history_changes_per_pin: int = 1000
    """A change takes 24 bytes: its moment, its value, and a reference to the caller. For 28 pins
    that is 0.7 MB at most, and 70 bytes more for each address that switched something."""
    drag_gap_s: float = 1.0
    drag_length_s: float = 10.0
    """Levels that one caller sets of one pin, each within the gap after the one before and all
    within the length, count as one change, the last: dragging a slider sets dozens. The history on
    the page (www/) does the same with the changes it receives."""

    # cli: doctor and wait-healthy

    health_timeout_s: float = 5.0
    """For one answer of /api/health: doctor and install.sh do not wait longer for a hung server."""
    program_timeout_s: float = 5.0
    """For one answer of another program that doctor runs."""
    wait_healthy_s: float = 10.0
    """Until the server must answer that it is healthy. It is READY by then, and the first TLS
    handshake is slow on a small Pi."""


DEFAULT = Limits()
