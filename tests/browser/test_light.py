"""Cost of the page: it draws no more than is seen."""

from playwright.sync_api import expect

from tests.browser.looking import card, expect_live, switch, wait_for, word

PINS = "".join(f"  pin{n}: {{gpio: {n}, mode: output}}\n" for n in range(28))
COUNT = """() => {
    window.frames = 0;
    const { requestAnimationFrame } = window;
    window.requestAnimationFrame = (frame) => {
        window.frames++;
        return requestAnimationFrame(frame);
    };
    window.began = performance.now();
}"""
HIDE = """() => {
    const frames = []; // browsers have none for hidden tabs
    const { requestAnimationFrame } = window;
    window.requestAnimationFrame = (frame) => frames.push(frame);
    window.show = () => {
        window.requestAnimationFrame = requestAnimationFrame;
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));
        frames.forEach((frame) => frame());
    };
    Object.defineProperty(document, "hidden", { configurable: true, value: true });
    document.dispatchEvent(new Event("visibilitychange"));
    window.drawn = window.ticks = 0;
    new MutationObserver(() => window.drawn++).observe(document.body, {
        subtree: true, childList: true, characterData: true, attributes: true,
    });
    return import("/raspi.js").then(({ connect }) => {
        window.other = connect();
        window.other.on("state", ({ pins }) => (window.ticks += pins.pin0));
    });
}"""


def test_drawing(start_server, open_page):
    """A change of a pin that is not on the screen asks for no frame of its own, and is drawn with
    the next tick. Many changes of one that is are drawn at most five times a second, the last one
    always. A hidden page draws nothing; when it is visible again, it shows the present values."""
    server = start_server(f"access: {{control: everyone}}\npins:\n{PINS}")
    page = open_page(server.url)
    expect_live(page)
    expect(card(page, "pin27")).to_be_attached()
    page.evaluate(COUNT)
    switch(server, "pin27", 1)
    expect(word(page, "pin27")).to_have_text("on")
    assert page.evaluate("window.frames") == 0
    for n in range(41):
        switch(server, "pin0", n % 2)
        switch(server, "pin1", 1 - n % 2)
    expect(word(page, "pin0")).to_have_text("off")
    expect(word(page, "pin1")).to_have_text("on")
    took = page.evaluate("(performance.now() - window.began) / 1000")
    assert 1 <= page.evaluate("window.frames") <= took / 0.2 + 1
    card(page, "pin27").scroll_into_view_if_needed()
    switch(server, "pin27", 0)
    expect(word(page, "pin27")).to_have_text("off")
    page.evaluate(HIDE)
    switch(server, "pin0", 1)
    wait_for(page, "() => window.ticks >= 2")
    assert page.evaluate("window.drawn") == 0
    assert card(page, "pin0").get_attribute("data-on") == "false"
    page.evaluate("window.show()")
    expect(word(page, "pin0")).to_have_text("on")
