"""turns.js and its fold.js alone, in a browser: the fold from events to rows, without a broker."""

from pathlib import Path

from .looped import IN_BROWSER

pytestmark = IN_BROWSER

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "plugins" / "agent" / "web"
ORIGIN = "http://edgestream.test"

RUN = """async () => {
    const turns = await import('/turns.js');
    const { cases } = await import('/turns.cases.mjs');
    const failed = {};
    for (const [name, run] of Object.entries(cases)) {
        try { run(turns); } catch (error) { failed[name] = error.message; }
    }
    return { count: Object.keys(cases).length, failed };
}"""


async def test_the_fold_keeps_its_promises(tabs):
    """Every case of turns.cases.mjs holds (their names say what each one proves)."""
    files = {
        "/": ("text/html", "<!doctype html>"),
        "/turns.js": ("text/javascript", (WEB / "turns.js").read_text("utf-8")),
        "/fold.js": ("text/javascript", (WEB / "fold.js").read_text("utf-8")),
        "/turns.cases.mjs": ("text/javascript", (HERE / "turns.cases.mjs").read_text("utf-8")),
    }

    async def serve(route):
        kind, body = files[route.request.url.removeprefix(ORIGIN)]
        await route.fulfill(content_type=kind, body=body)

    page = await tabs.new_page()
    await page.route(f"{ORIGIN}/**", serve)
    await page.goto(f"{ORIGIN}/")
    result = await page.evaluate(RUN)
    assert result["failed"] == {}
    assert result["count"] > 20
