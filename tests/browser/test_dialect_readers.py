"""The dialect pages' ways to read, alone: fed what the encoders write, cut as networks cut."""

from pathlib import Path

from unit.front_ends import encoder, recorded, written

from plugins.agent.dialects import DIALECTS

from .looped import IN_BROWSER

pytestmark = IN_BROWSER

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "plugins" / "agent" / "web" / "dialects"
ORIGIN = "http://edgestream.test"
PIECES = [("Good", 1), (" day,\r\n", 3), ("Zoë 👋🏽", 1)]

RUN = """async (given) => {
    const dialects = {};
    for (const name of Object.keys(given.written)) dialects[name] = await import(`/${name}.js`);
    const reading = await import('/reading.js');
    const { cases } = await import('/dialects.cases.mjs');
    const failed = {};
    for (const [name, run] of Object.entries(cases)) {
        try {
            await run({ dialects, reading, ...given });
        } catch (error) {
            failed[name] = `${error}`;
        }
    }
    return { count: Object.keys(cases).length, failed };
}"""


async def test_front_ends_read_what_is_written_for_them(tabs):
    """Every case of dialects.cases.mjs holds (their names say what each one proves)."""

    async def serve(route):
        path = route.request.url.removeprefix(ORIGIN + "/")
        folder = HERE if path.endswith(".mjs") else WEB
        body = (folder / path).read_text("utf-8") if path else "<!doctype html>"
        await route.fulfill(content_type="text/javascript" if path else "text/html", body=body)

    writes = {
        name: [each.decode() for each in written(encoder(name), recorded(PIECES))]
        for name in DIALECTS
    }
    page = await tabs.new_page()
    await page.route(f"{ORIGIN}/**", serve)
    await page.goto(f"{ORIGIN}/")
    given = {"written": writes, "text": "".join(text for text, _ in PIECES)}
    result = await page.evaluate(RUN, given)
    assert result["failed"] == {}
    assert result["count"] == 6
