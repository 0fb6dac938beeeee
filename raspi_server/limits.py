"""Limits and timeouts of the server, in one frozen value. config.yaml does not name them; tests
give others, so that none has to wait a minute."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Each field carries its unit: `_s` are seconds. The reason for a number stands below it."""

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
    mqtt_health_interval_s: float = 30.0

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
    """Time for which the connection stays open after the last viewer left."""
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


DEFAULT = Limits()
