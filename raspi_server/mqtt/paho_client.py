"""Eclipse Paho's client, set up for one connection that the event loop drives.

Numbers in brackets are sections of OASIS' MQTT Version 5.0."""

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from ..limits import Limits
from . import errors
from .broker_config import BrokerConfig
from .errors import BrokerError
from .message import Message


class PahoClient(Client):
    """Paho's client without the properties of received messages.

    This server uses none of them, and Paho ends the connection at characters that MQTT allows
    there, such as U+FEFF."""

    def _handle_publish(self) -> MQTTErrorCode:
        quality = self._in_packet["command"] >> 1 & 3
        packet = self._in_packet["packet"]
        self._in_packet["packet"] = _without_properties(packet, quality)
        return super()._handle_publish()


def new_client(
    config: BrokerConfig, client_id: str, will: Message | None, limits: Limits
) -> PahoClient:
    """Return a client for one connection.

    For a second connection Paho would repeat messages, and retry at times of its own."""
    client = PahoClient(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = limits.mqtt_connect_timeout_s
    client.max_inflight_messages = 0  # no limit of Paho's own: see `Connection.can_publish`
    client.username_pw_set(config.user, config.password)  # type: ignore[arg-type]  # bytes do
    if config.context:
        client.tls_set_context(config.context)
    if will:
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
    return client


def connect_blocking(client: Client, config: BrokerConfig, limits: Limits) -> None:
    """Open the connection and send CONNECT. Blocks.

    Raises OSError or UnicodeError if no connection was made, and BrokerError if it ended then."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = limits.mqtt_max_packet_bytes
    error = client.connect(
        config.host,
        config.port,
        limits.mqtt_keep_alive_s,
        clean_start=True,
        properties=properties,
    )
    if error:
        raise BrokerError(errors.connack_missing(config, None))


def publish_properties(message: Message) -> Properties | None:
    """Return the properties to publish a message with, None if it needs none."""
    if message.lifetime_s is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = message.lifetime_s
    return properties


def reason_string(properties: Properties | None) -> str:
    """Return the broker's own words for a reason, or an empty text."""
    return str(getattr(properties, "ReasonString", ""))


def close_socket(client: Client) -> None:
    """Close the connection without a DISCONNECT. Paho has no function for that."""
    connection = client.socket()
    if connection:
        client.on_socket_close = client.on_socket_unregister_write = None
        connection.close()


def _without_properties(packet: bytearray, quality: int) -> bytearray:
    """Return the variable header and payload of a PUBLISH without any property (3.3.2).

    Raises what Paho expects of an invalid packet."""
    at = 2 + int.from_bytes(packet[:2], "big") + (2 if quality else 0)
    size, width = VariableByteIntegers.decode(packet[at : at + 4])  # type: ignore[no-untyped-call]
    if at + width + size > len(packet):
        return packet
    return packet[:at] + b"\0" + packet[at + width + size :]
