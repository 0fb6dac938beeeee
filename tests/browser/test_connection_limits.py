"""The page when other clients use all connections."""

from pathlib import Path

from playwright.sync_api import expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders, new_link
from tests.support.load import Siege
from tests.support.server import changing

CONFIG = """
gpio: simulated
interval: 0.05
pins: {lamp: {gpio: 27, mode: output, label: Desk lamp}}
"""
MAX_CONNECTIONS = 300


def test_owner_s_phone(start_server, open_page, tmp_path: Path):
    """While clients of twenty addresses use all connections and keep trying, a new phone signs in
    by a link and switches, and again when it comes back. Its connection is kept while clients of
    hundreds of addresses try."""
    Codes(tmp_path).renew("control")
    # The phone is no part of this machine, whatever its address.
    small = changing(max_connections=MAX_CONNECTIONS, exempt_addresses=())
    server = start_server(CONFIG, program=small, env=folders(tmp_path))
    with Siege(server, 20, MAX_CONNECTIONS):
        server.wait_for_log("too many connections")
        page = open_page(f"{server.url}{new_link(tmp_path)}")
        lamp = page.get_by_role("switch", name="Desk lamp")
        for _ in range(2):
            lamp.click()
            expect(lamp).to_be_checked()
            lamp.click()
            expect(lamp).not_to_be_checked()
            page.goto(server.url)
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    opened = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    with Siege(server, 2 * MAX_CONNECTIONS, MAX_CONNECTIONS) as siege:
        siege.wait_for(6 * MAX_CONNECTIONS)
        lamp.click()
        expect(lamp).to_be_checked()
    assert opened == []  # it needed no other
