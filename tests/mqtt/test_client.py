"""MQTT client and the broker's configuration: which errors they report at brokers that fail, at
ports that are no broker, and for wrong credentials and certificates."""

import asyncio
import select
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTErrorCode

from raspi_server.config.errors import ConfigError
from raspi_server.config.schema import MqttConfig
from raspi_server.limits import Limits
from raspi_server.mqtt.broker_config import BrokerConfig, read_broker_config
from raspi_server.mqtt.client import MqttClient
from raspi_server.mqtt.paho_client import PahoClient
from tests.security.test_tls import Authority, Pair
from tests.support.fake_broker import CONNACK, FakeBroker
from tests.support.mqtt import CONTROL, config, switch, wait_for_reason, wait_until_well
from tests.support.server import LIMIT, changing

SOON = Limits(mqtt_min_retry_s=0.1)
HASTY = Limits(mqtt_connect_timeout_s=0.3, mqtt_keep_alive_s=1, mqtt_min_retry_s=0.1)
DAY = timedelta(days=1)


async def error_of(config: BrokerConfig, words: str = "", limits: Limits = SOON) -> str | None:
    """Let a client connect again and again until its error has these words, and return the error.
    Assert that no exception reaches the loop."""
    exceptions: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: exceptions.append(context))
    client = MqttClient(config, "client", limits=limits)
    client.start()
    until = loop.time() + LIMIT
    while (not client.error or words not in client.error) and loop.time() < until:
        await asyncio.sleep(0.001)
    error = client.error
    await client.close(timeout_s=1)
    assert not exceptions
    return error


def assert_error(url: str, words: str, limits: Limits = SOON, **keys: Any) -> None:
    """Assert that a client with these keys below `mqtt` gets an error with these words."""
    config = read_broker_config(MqttConfig(url=url, **keys))
    assert words in str(asyncio.run(error_of(config, words, limits)))


@pytest.fixture
def secure(brokers, authority):
    """A function that starts a broker with a certificate for localhost."""

    def start(pair: Pair, *lines: str) -> str:
        own = (f"certfile {pair.certificate}", f"keyfile {pair.key}")
        broker = brokers.broker(*own, f"cafile {authority.folder}/ca.crt", *lines)
        return f"mqtts://localhost:{broker.port}"

    return start


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "accepts the connection and does not answer"),
        (CONNACK, "has not answered for 1 s"),
        (b"\x20\x02\x00\x01", "does not speak MQTT 5"),  # that of MQTT 3
        (b"HTTP/1.1 400 Bad Request\r\n" * 4, "it sent an invalid packet"),
        (b"\x20\x03\x00\x89\x00", "is busy"),
        (b"\x20\x03\x00\x80\x00", "rejects our login (0x80)"),
        (b"\x20\x0a\x00\x8a\x07\x1f\x00\x04no\x07!", "are banned (no?!)"),
        (CONNACK + b"\xe0\x02\x8b\x00", "is shutting down"),
        (CONNACK + b"\xe0\x02\x8e\x00", "each Pi needs a host name or mqtt.topic of"),
    ],
)
def test_not_a_broker(answer, words):
    """The error says what a program does that accepts the connection and is no broker."""
    with FakeBroker(answer) as broker:
        assert_error(broker.url, words, HASTY)


def test_hosts_that_do_not_answer(brokers, secure, pair):
    """A name that cannot be resolved, a port that accepts no connection, and one that is silent in
    the TLS handshake are reported. So is TLS at a port without TLS, and the reverse."""
    assert_error("mqtt://none.invalid", "no host is called none.invalid, or no name server")
    with FakeBroker(b"") as silent, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(full.getsockname()):  # its whole backlog
            assert_error(f"mqtt://127.0.0.1:{port}", f"127.0.0.1:{port} does not answer", HASTY)
        assert_error(f"mqtts://127.0.0.1:{silent.port}", f"{silent.port} does not answer", HASTY)
    words = "ended the connection at once: is that port one for mqtt:// or for mqtts://?"
    assert_error(brokers.broker().url.replace("mqtt:", "mqtts:"), words)
    assert_error(secure(pair).replace("mqtts:", "mqtt:"), words)
    with FakeBroker(b"HTTP/1.1 400 Bad Request\r\n") as plain:
        url = f"mqtts://127.0.0.1:{plain.port}"
        assert_error(url, "speaks no TLS on that port: expected mqtt://, or")


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_stop_does_not_wait_for_a_broker(start_server, scheme):
    """A server that waits for its broker serves, switches and stops."""
    with FakeBroker(b"") as silent:
        server = start_server(config(f"{scheme}://127.0.0.1:{silent.port}"))
        silent.wait_for(0, b"\0")  # the CONNECT, or the TLS handshake
        switch(server, "lamp", 1)
        assert server.stop() == 0


HEADS = st.sampled_from(b"\x20\x30\x32\x34\x40\x50\x62\x70\x90\xb0\xc0\xd0\xe0\xf0\x10")
BODIES = st.binary(max_size=60) | st.binary(max_size=60).map(lambda body: b"\0\2" + body)
PACKETS = st.builds(lambda head, body: bytes([head, len(body)]) + body, HEADS, BODIES)


@given(accepts=st.booleans(), data=st.binary(max_size=200) | PACKETS)
@settings(deadline=None, max_examples=100)
def test_arbitrary_bytes(accepts, data):
    """Any bytes from a broker lead to an error in words, and to no exception in the loop."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(CONNACK * accepts + data)
        writer.close()

    async def run() -> str | None:
        async with await asyncio.start_server(answer, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            return await error_of(BrokerConfig("127.0.0.1", port), limits=Limits())

    assert str(asyncio.run(run())).startswith("the broker 127.0.0.1")


def test_broker_with_limits(start_server):
    """A broker without retained messages, QoS 1 and large packets gets what it can take, and the
    health says what is missing."""
    # Maximum QoS 0, Retain Available 0, Maximum Packet Size 500
    connack = b"\x20\x0c\x00\x00\x09\x24\x00\x25\x00\x27\x00\x00\x01\xf4"
    with FakeBroker(connack) as broker:
        server = start_server(config(broker.url), program=changing(mqtt_max_unacknowledged=5))
        wait_for_reason(server, "retains no messages: later subscribers")
        server.wait_for_log(r"accepts no message of \d+ bytes \(house/pi/describe\)")
        for number in range(20):
            switch(server, "fan", (number + 1) / 100)
        broker.wait_for(0, b'{"value":0.2,')
        assert broker.published(0) > 25
        assert b"\x00house/pi/describe" not in broker.sent[0]
        assert server.stop() == 0


def test_unacknowledged_messages(start_server):
    """A broker that acknowledges nothing gets as many messages as its Receive Maximum. A change
    without acknowledgement is published again on the next connection, as late. Connections that end
    again and again may be another client's doing. A stop does not wait for the broker."""
    connack = b"\x20\x06\x00\x00\x03\x21\x00\x09"  # Receive Maximum 9
    with FakeBroker(connack) as broker:
        server = start_server(config(broker.url))
        broker.wait_for(0, b"house/pi/health")  # the eighth
        switch(server, "lamp", 1)
        broker.wait_for(0, b'{"value":1,')
        switch(server, "fan", 0.5)
        wait_until_well(server)
        assert broker.published(0) == 9
        broker.close_connection()
        broker.wait_for(1, b"house/pi/pins/lamp/late")
        assert broker.sent[1].count(b"/late") == 1
        server.wait_for_log(r"ended the connection$")
        broker.close_connection()
        server.wait_for_log("connection again at once: does another client have our client id")
        broker.wait_for(2, b"house/pi/pins/lamp/late")
        assert server.stop() == 0
        server.wait_for_log(r"mqtt: 1 changes were not published at .* before the stop")


def test_rejected_login_and_acl(brokers, start_server, tmp_path, caplog):
    """A rejected login is reported with its reason and without the password. So is a topic that the
    ACL forbids, and logged once, however many messages the broker rejects."""
    guarded = brokers.guarded("user reader\ntopic read #\n", ["reader"])
    (tmp_path / "wrong").write_text("guess\n")
    words = "rejects our login as reader: wrong name or password, or not authorised"
    assert_error(guarded.url, words, user="reader", password_file=tmp_path / "wrong")
    assert "guess" not in caplog.text
    assert_error(guarded.url, "rejects our login without a name (mqtt.user): wrong name")
    server = start_server(config(guarded.url, ", user: reader, password_file: password"))
    assert "as reader: its ACL forbids it" in wait_for_reason(server, "not let us publish house/")
    switch(server, "lamp", 1)
    server.stop()
    assert server.log.count("does not let us publish") == 1


def test_invalid_certificate_of_the_broker(secure, authority, pair):
    """A broker's certificate of an unknown authority, or for another name, is reported."""
    assert_error(secure(pair), "expected its certificate to be from an authority that mqtt.ca")
    other = authority.issue("name", -DAY, DAY)  # signed again, without the names of this machine
    sign = "x509 -req -in name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2"
    authority.openssl(f"{sign} -out {other.certificate}")
    words = "its certificate was rejected: Hostname mismatch"
    assert_error(secure(other), words, ca=authority.folder / "ca.crt")


@pytest.fixture
def slow_client(monkeypatch):
    """A client that sends CONNECT when the broker has hung up."""
    send = PahoClient._send_connect

    def send_late(client: PahoClient, keep_alive_s: int) -> MQTTErrorCode:
        poll = select.poll()
        poll.register(client.socket(), 0)
        assert poll.poll(LIMIT * 1000)
        return send(client, keep_alive_s)

    monkeypatch.setattr(PahoClient, "_send_connect", send_late)


def test_broker_that_hangs_up_before_connect(authority, pair, slow_client):
    """A broker that resets the connection before the client has sent CONNECT is reported like one
    that does so later: TLS 1.3 checks the client's certificate after the handshake."""
    with FakeBroker(None, is_hasty=True) as plain, FakeBroker(None, pair, is_hasty=True) as secure:
        words = "ended the connection at once: is that port one for mqtt:// or for mqtts://?"
        assert_error(plain.url, words)
        # So does a broker that checks the client's certificate in a handshake of TLS 1.2.
        words += " Does it need another client certificate (mqtt.certificate)?"
        assert_error(f"mqtts://localhost:{plain.port}", words, ca=authority.folder / "ca.crt")
        words = "after the TLS handshake: does it need another client certificate (mqtt.cert"
        assert_error(f"mqtts://localhost:{secure.port}", words, ca=authority.folder / "ca.crt")


def test_client_certificate(secure, authority, pair):
    """A broker that requires a client certificate accepts ours. Without it, or if it has expired,
    the error names the key, whether the broker's alert arrives or its reset overtakes it."""
    url = secure(pair, "require_certificate true")
    ca = authority.folder / "ca.crt"
    ours = authority.issue("client", -DAY, DAY)
    keys = {"ca": ca, "certificate": ours.certificate, "key": ours.key}
    client = MqttClient(read_broker_config(MqttConfig(url=url, **keys)), "client")
    assert asyncio.run(client.check()) is None
    words = "client certificate (mqtt.certificate)"
    assert_error(url, words, ca=ca)
    expired = authority.issue("old", -DAY, -DAY / 2)
    assert_error(url, words, ca=ca, certificate=expired.certificate, key=expired.key)
    with FakeBroker(None, pair) as resetting:
        url = f"mqtts://localhost:{resetting.port}"
        assert_error(url, f"after the TLS handshake: does it need another {words}?", ca=ca)


def test_packets_in_one_tls_record(authority, pair, start_server):
    """Of several packets in one TLS record none waits for the next record. A topic that is not
    UTF-8 does not end the connection."""
    topics = (b"\xff", b"house/pi/pins/lamp/set", b"house/pi/pins/fan/set")
    packets = [b"\x30" + bytes([len(each) + 4, 0, len(each)]) + each + b"\0001" for each in topics]
    with FakeBroker(CONNACK + b"".join(packets), pair) as broker:
        more = f"{CONTROL}, ca: {authority.folder}/ca.crt"
        server = start_server(config(f"mqtts://localhost:{broker.port}", more))
        server.wait_for_log(r"fan \(GPIO18\): on, by mqtt")
        assert server.log.count("mqtt: connected") == 1


@pytest.fixture
def files(authority: Authority) -> Path:
    """A folder with a certificate, its key, the same key with a passphrase, and another key."""
    (authority.folder / "text").write_text("nothing of use\n")
    authority.openssl("ecparam -genkey -name prime256v1 -noout -out other.key")
    authority.openssl("ec -in ca.key -aes128 -passout pass:x -out locked.key")
    return authority.folder


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"password_file": "none"}, "password_file: expected a file that can be read: No such"),
        ({"ca": "text"}, "ca: expected certificates in PEM format"),
        ({"certificate": "text", "key": "text"}, "certificate: expected a certificate and its key"),
        ({"certificate": "ca.crt", "key": "other.key"}, "key: expected the key of .*"),
        ({"certificate": "ca.crt", "key": "locked.key"}, "key: expected a key without a passphr"),
    ],
)
def test_missing_and_invalid_files(files, names, words):
    """A missing or invalid file is an error of the configuration, with its key."""
    paths = {key: files / name for key, name in names.items()}
    mqtt = MqttConfig(url="mqtts://localhost", user="a", **paths)
    with pytest.raises(ConfigError, match=rf"{files}/\S+: mqtt\.{words}"):
        read_broker_config(mqtt)


SHOW_IMPORTS = """
import sys
from raspi_server.cli.main import main
status = main()
names = ("paho", "raspi_server.mqtt", "raspi_server.web.metrics", "prometheus_client")
print("imported:", *(each for each in sys.modules if each.startswith(names)), file=sys.stderr)
sys.exit(status)
"""


def test_imports_follow_the_configuration(start_server):
    """Nothing of mqtt or metrics is imported without `mqtt`, and nothing of the fleet without
    `fleet`."""
    for text, imported in (("gpio: simulated\n", "$"), (config("mqtt://[::1]:9"), ".*bridge.*")):
        server = start_server(text, program=("-c", SHOW_IMPORTS))
        assert server.stop() == 0
        assert "fleet" not in server.wait_for_log(f"imported:{imported}")[0]


def test_check_reads_the_files_of_the_broker(tmp_path):
    """`check` reports a missing file of the broker, without importing the client."""
    file = tmp_path / "config.yaml"
    file.write_text(config("mqtts://localhost", ", ca: none"))
    command = [sys.executable, "-c", SHOW_IMPORTS, "check", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 78
    assert f"{tmp_path}/none: mqtt.ca: expected a file that can be read: No" in done.stderr
    imported = done.stderr.split("imported:")[1].split()
    assert imported == ["raspi_server.mqtt", "raspi_server.mqtt.broker_config"]
