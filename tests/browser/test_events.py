"""`/api/events` in a real browser."""

from playwright.sync_api import expect

from tests.browser.looking import CONFIG, switch

LISTEN = """() => {
    const events = new EventSource("/api/events");
    return new Promise((done) => {
        events.addEventListener("state", () => (window.state = 1));
        events.addEventListener("change", ({ data, lastEventId }) => {
            events.close();
            done([JSON.parse(data), lastEventId, window.state, window.health]);
        });
        events.addEventListener("health", () => {
            window.health = 1;
            document.title = "listening";
        });
    });
}"""


def test_event_source(start_server, open_page):
    """A page of this server gets states, health and changes through an EventSource."""
    server = start_server(CONFIG)
    page = open_page(f"{server.url}/examples/")
    page.evaluate(f"() => {{ window.found = ({LISTEN})(); }}")
    expect(page).to_have_title("listening")
    switch(server, "lamp", 1)
    change, number, *others = page.evaluate("window.found")
    assert (change["pin"], change["value"], others) == ("lamp", 1, [1, 1])
    assert int(number) == change["seq"]
