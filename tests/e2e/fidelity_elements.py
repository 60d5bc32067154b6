"""The check of the fidelity tests for `mo.ui`: an element of every kind is set on its page.

By hand where a test can reach it: with mouse, keyboard, a file. Canvases, calendars and recorders
are given what their own component would hand on: the event that marimo's page listens to.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable

from e2e.fidelity import Visit
from playwright.async_api import Locator, expect

__all__ = ["elements"]

Action = Callable[[Locator], Awaitable[object]]

_EVENT = """(element, value) => element.dispatchEvent(
  new CustomEvent("marimo-value-input", {
    bubbles: true, composed: true, detail: { value, element },
  })
)"""


async def elements(visit: Visit) -> object:
    page = await visit.open()
    told = page.get_by_text("values {")
    await expect(told).to_contain_text('"unlisted": []')
    for kind, (act, value) in ACTIONS.items():
        await act(page.get_by_role("region", name=kind, exact=True))
        if kind in UNTOLD:
            await page.get_by_role("button", name="Tell", exact=True).click()
        await expect(told).to_contain_text(f'"{kind}": {json.dumps(value)}')
    text = (await told.inner_text())[len("values ") : -len(" end")]
    values = json.loads(text)["values"]
    assert values == {kind: value for kind, (_, value) in ACTIONS.items()}
    return values


def press(name: str) -> Action:
    return lambda region: region.get_by_role("button", name=name).first.click()


def click(role: str, number: int = 0) -> Action:
    return lambda region: region.get_by_role(role).nth(number).click()


def step(number: int = 0) -> Action:
    """Move a slider one step to the right."""
    return lambda region: region.get_by_role("slider").nth(number).press("ArrowRight")


def write(text: str, then: str) -> Action:
    async def act(region: Locator) -> None:
        box = region.locator("input, textarea, .cm-content").first
        await box.click()
        await box.press("ControlOrMeta+a")
        await box.press_sequentially(text)
        await box.press(then)

    return act


def insert(text: str) -> Action:
    """All of it at once, where a page posts each change: of two posts, the server may well read the
    second one first."""

    async def act(region: Locator) -> None:
        box = region.locator(".cm-content").first
        await box.click()
        await box.press("ControlOrMeta+a")
        await region.page.keyboard.insert_text(text)

    return act


def given(value: object) -> Action:
    """Give an element the value that its own component would hand on."""
    return lambda region: region.locator("marimo-ui-element > *").first.evaluate(_EVENT, value)


async def submit(region: Locator) -> None:
    await step()(region)
    await press("Submit")(region)


async def upload(region: Locator) -> None:
    file = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"a note"}
    await region.locator("input[type=file]").set_input_files(file)


async def choose_file(region: Locator) -> None:
    await region.get_by_text("sql.py", exact=True).click()


async def choose_green(region: Locator) -> None:
    await region.get_by_role("combobox").select_option("green")


UNTOLD = ("panel", "run_button")
"""Kinds whose change does not run the cell that tells the values."""

POINTS = [{"x": number, "y": number * number} for number in (1, 2, 3, 4)]

ACTIONS: dict[str, tuple[Action, object]] = {
    "altair_chart": (
        given({"select_interval": {"x": [1.5, 3.5], "y": [0, 20]}}),
        POINTS[1:3],
    ),
    "anywidget": (press("Count"), 1),
    "array": (step(1), [0, 1]),
    "batch": (step(), {"first": 1, "second": 0}),
    "button": (press("Plus"), 1),
    "chat": (write("Hello", "Enter"), [["user", "Hello"], ["assistant", "You said Hello"]]),
    "checkbox": (click("checkbox"), True),
    "code_editor": (insert("two = 2"), "two = 2"),
    "data_editor": (
        given({"edits": [{"rowIdx": 0, "columnId": "x", "value": 7}]}),
        [{"x": 7, "y": 1}, *POINTS[1:]],
    ),
    "data_explorer": (given({"encoding": {"x": {"field": "y"}}}), {"x": "y"}),
    "dataframe": (
        given(
            {
                "transforms": [
                    {
                        "type": "sort_column",
                        "column_id": "x",
                        "ascending": False,
                        "na_position": "last",
                    }
                ]
            }
        ),
        POINTS[::-1],
    ),
    "date": (given("2024-02-03"), "2024-02-03"),
    "date_range": (given(["2024-02-03", "2024-02-05"]), ["2024-02-03", "2024-02-05"]),
    "datetime": (given("2024-02-03T04:05"), "2024-02-03T04:05:00"),
    "dictionary": (step(1), {"one": 0, "more": [1]}),
    "dropdown": (choose_green, "green"),
    "experimental_data_editor": (
        given({"edits": [{"rowIdx": 1, "columnId": "a", "value": 5}]}),
        [{"a": 1}, {"a": 5}],
    ),
    "file": (upload, [["note.txt", "a note"]]),
    "file_browser": (choose_file, ["sql.py"]),
    "form": (submit, {"inner": 1}),
    "matplotlib": (
        given(
            {
                "has_selection": True,
                "type": "box",
                "data": {"x_min": 1, "x_max": 2, "y_min": 3, "y_max": 4},
            }
        ),
        "BoxSelection(x_min=1.0, x_max=2.0, y_min=3.0, y_max=4.0)",
    ),
    "matrix": (given([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "microphone": (given(base64.b64encode(b"sound").decode()), "sound"),
    "multiselect": (given(["red", "blue"]), ["red", "blue"]),
    "number": (write("42", "Tab"), 42),
    "panel": (click("checkbox"), True),
    "plotly": (
        given({"points": [{"x": 2, "y": 4}], "indices": [1], "range": {"x": [1.5, 2.5]}}),
        [{"x": 2, "y": 4}],
    ),
    "radio": (click("radio", 1), "green"),
    "range_slider": (step(), [3, 8]),
    "refresh": (click("button"), "off (0)"),
    "run_button": (press("Run"), ["run"]),
    "slider": (step(), 1),
    "switch": (click("switch"), True),
    "table": (click("checkbox", 1), POINTS[:1]),
    "tabs": (click("tab", 1), "Second"),
    "text": (write("some words", "Tab"), "some words"),
    "text_area": (write("more words", "Tab"), "more words"),
}
"""By kind: what is done, and what the kernel then sees."""
