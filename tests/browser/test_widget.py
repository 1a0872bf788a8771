"""The answer's row: what it shows at every step of a turn."""

from playwright.async_api import Page, expect

from .backend import Turn
from .looped import IN_BROWSER, lasting

pytestmark = IN_BROWSER

TEXT = ("It ", "is ", "sunny.")


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def state(page: Page, state: str, turn: str = "turn-1") -> None:
    await expect(page.locator(f'[data-id="{turn}"]')).to_have_attribute("data-state", state)


@lasting
async def turn(agent, page):
    """A turn that has started, for a question that was asked on the page."""
    await ask(page, "What is the weather?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await state(page, "dots")
    return turn


async def test_an_answer_goes_through_every_state(page, turn):
    """Dots, the tool's name, dots again, the growing text with a cursor, the buttons."""
    row = page.locator(".turn")
    dots, tool, text = row.locator(".dots"), row.locator(".activity .tool"), row.locator(".text")
    await expect(dots.locator("i")).to_have_count(3)
    await expect(dots).to_be_visible()
    await expect(row.locator(".actions")).to_be_hidden()

    await turn.tool_started("get_weather")
    await state(page, "tool")
    await expect(tool).to_have_text("get_weather…")
    await expect(tool.locator("svg")).to_be_visible()
    await expect(dots).to_be_hidden()

    await turn.tool_completed()
    await state(page, "dots")
    await expect(dots).to_be_visible()
    await expect(tool).to_be_hidden()
    await expect(row.locator(".tools li")).to_have_text("get_weather120 ms")

    await turn.text(*TEXT[:2])
    await state(page, "text")
    await expect(text).to_have_text("It is")
    await expect(text).to_have_attribute("data-writing", "")
    await expect(dots).to_be_hidden()

    await turn.text(*TEXT[2:])
    await turn.completed()
    await state(page, "done")
    await expect(text).to_have_text("It is sunny.")
    await expect(text).not_to_have_attribute("data-writing", "")
    for name in ("Copy the answer", "Good answer", "Bad answer"):
        await expect(row.get_by_role("button", name=name)).to_be_visible()


async def test_a_burst_is_rendered_once_per_frame(page, turn):
    """However fast tokens come, a frame has one change, to one text node that stays."""
    changes = await page.evaluate_handle(
        """() => {
            const node = document.querySelector('.turn .text').firstChild;
            const byFrame = new Map();
            let frame = 0;
            // Asks for its next frame before anything else can: in each frame it runs first.
            const count = () => { frame += 1; requestAnimationFrame(count); };
            requestAnimationFrame(count);
            new MutationObserver((records) => {
                byFrame.set(frame, (byFrame.get(frame) ?? 0) + records.length);
            }).observe(node, { characterData: true });
            return { node, byFrame };
        }"""
    )
    tokens = [f"word{number} " for number in range(600)]
    await turn.text(*tokens[:300])
    await turn.text(*tokens[300:], together=False)
    await page.wait_for_function(
        "([changes, length]) => changes.node.length === length", arg=[changes, len("".join(tokens))]
    )
    seen = await changes.evaluate(
        """({ node, byFrame }) => ({
            perFrame: Math.max(...byFrame.values()),
            frames: byFrame.size,
            text: node.data,
            alone: node.isConnected && node.parentNode.childNodes.length === 1,
        })"""
    )
    assert seen["perFrame"] == 1
    assert seen["frames"] < len(tokens)
    assert seen["text"] == "".join(tokens)
    assert seen["alone"]


async def test_the_whole_text_replaces_what_came_in_pieces(page, turn):
    """turnCompleted is the last word, also where it says something else."""
    await turn.text("Half an ans")
    await turn.completed(fullText="The whole answer.")
    await state(page, "done")
    await expect(page.locator(".turn .text")).to_have_text("The whole answer.")


async def test_an_error_ends_the_spinner_and_keeps_the_text(page, turn):
    """Nothing moves after an error; its reason stands on that turn, the text stays."""
    await turn.text("Half an ans")
    await turn.failed()
    await state(page, "error")
    row = page.locator(".turn")
    await expect(row.locator(".problem")).to_contain_text("The model is down.")
    await expect(row.locator(".text")).to_have_text("Half an ans")
    await expect(row.locator(".dots")).to_be_hidden()
    await expect(row.locator(".text")).not_to_have_attribute("data-writing", "")


async def test_try_again_after_an_error_asks_the_same_anew(page, turn):
    """The question of a turn that failed goes out once more, under a new name."""
    await turn.failed()
    await page.locator(".turn .retry").click()
    again = await turn.agent.question()
    assert again["text"] == "What is the weather?"
    assert again["messageId"] != turn.message_id


async def test_open_turns_do_not_mix(page, turn):
    """Two answers that are written at the same time keep their own text and state."""
    await ask(page, "And tomorrow?")
    other = Turn(turn.agent, await turn.agent.question(), "turn-2")
    await other.started()
    await turn.text("Sun")
    await other.tool_started("get_forecast")
    await turn.text("ny.")
    await state(page, "tool", "turn-2")
    await expect(page.locator('[data-id="turn-1"] .text')).to_have_text("Sunny.")
    await turn.completed()
    await state(page, "done", "turn-1")
    await state(page, "tool", "turn-2")


async def test_markup_in_messages_is_text(page, agent):
    """Names, questions, answers and errors cannot become elements or run."""
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    await ask(page, evil)
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.tool_started(evil)
    await turn.tool_completed()
    await turn.say("thinking", text=evil)
    await turn.say("progress", percent=50, message=evil)
    await turn.text(evil)
    await turn.say("suggestions", questions=[evil])
    await expect(page.locator(".turn .text")).to_have_text(evil)
    await turn.failed(message=evil)
    await state(page, "error")
    await expect(page.locator(".user .bubble")).to_have_text(evil)
    await expect(page.locator(".turn .reason")).to_have_text(evil)
    await expect(page.locator(".suggestion")).to_have_text(evil)
    assert await page.locator("#rows img, #rows script").count() == 0
    assert await page.title() == "edgestream chat"


async def test_copy_takes_the_answer(page, turn):
    """The clipboard has the whole text, and the button says so."""
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await turn.text(*TEXT)
    await turn.completed()
    copy = page.get_by_role("button", name="Copy the answer")
    await copy.click()
    await expect(copy).to_have_attribute("data-state", "copied")
    await expect(copy).to_contain_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "It is sunny."


async def test_feedback_is_one_or_none(page, turn):
    """Up and down exclude each other, and a second click takes it back."""
    await turn.completed(fullText="Done.")
    up = page.get_by_role("button", name="Good answer")
    down = page.get_by_role("button", name="Bad answer")
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "true")
    await down.click()
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(up).to_have_attribute("aria-pressed", "false")
    await down.click()
    await expect(down).to_have_attribute("aria-pressed", "false")


async def test_a_suggestion_is_asked(page, turn):
    """Follow-up questions are buttons that send themselves."""
    await turn.say("suggestions", questions=["And tomorrow?", "In Bern?"])
    await turn.completed(fullText="Sunny.")
    await page.get_by_role("button", name="In Bern?").click()
    assert (await turn.agent.question())["text"] == "In Bern?"


async def test_thoughts_and_progress_are_shown(page, turn):
    """Thoughts are open until there is text to read; progress has a bar and a word."""
    thinking = page.locator(".turn .thinking")
    await turn.say("thinking", text="First ")
    await turn.say("thinking", text="things first.")
    await turn.say("progress", percent=40, message="Reading")
    await expect(thinking.locator("p")).to_have_text("First things first.")
    await expect(thinking.locator("p")).to_be_visible()
    await expect(page.get_by_role("progressbar")).to_have_js_property("value", 40)
    await expect(page.locator(".progress-message")).to_have_text("Reading")
    await turn.text("Well")
    await expect(thinking.locator("p")).to_be_hidden()
    await turn.completed()
    await expect(page.get_by_role("progressbar")).to_be_hidden()
