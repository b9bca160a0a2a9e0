"""ComfyUI's real editor in a real Chromium, used as a person uses it: by clicks where there is something to click."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editor_page import READY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

PACK_NAME = "ComfyUI-UniTalking"
SCREEN = {"width": 1800, "height": 1100}
HEARD = ("progress", "b_preview", "executed", "execution_success", "execution_error", "execution_interrupted")
LISTEN = """kinds => {
    window.heard = []
    for (const kind of kinds) app.api.addEventListener(kind, () => heard.push(kind))
}"""
WRONG_NODES = """() => app.graph.nodes
    .filter(node => !(node.type in LiteGraph.registered_node_types) || node.has_errors).map(node => node.type)"""
# Nobody's fault: what a fresh user folder does not have yet, the editor's own start, where it looks for an English help
# page first, and what is out of a browser's reach by the server's own rules: other servers.
ORDINARY = re.compile(
    r"/user\.css>$|/userdata/[\w.]+>$|/userdata\?dir=|graph accessed before initialization"
    r"|/docs/UniTalking\w+/en\.md>$|https://(huggingface\.co|api\.comfy\.org)/\S+ (violates|Refused)"
)


class Editor:
    """One open editor.

    Args:
        page: an empty page.
        url: of the server, without a slash at the end.
        shots: folder for screenshots.
    """

    def __init__(self, page: Page, url: str, shots: Path) -> None:
        self.page, self.url, self.shots = page, url, shots
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: line.type == "error" and self.complaints.append(_with_address(line)))

    def open(self) -> None:
        """Loads the editor, and waits until it knows the pack's nodes."""
        self.page.goto(self.url, wait_until="domcontentloaded")
        self.page.wait_for_function(READY)
        self.page.evaluate(LISTEN, HEARD)

    def set(self, name: str, value: Any) -> None:
        """Changes one of the user's settings on the server; an open editor has to be loaded anew to know it."""
        headers = {"Content-Type": "application/json"}
        self.page.context.request.post(f"{self.url}/api/settings/{name}", data=json.dumps(value), headers=headers)

    def open_template(self, name: str) -> None:
        """Clicks an example of the pack in the template browser."""
        self.command("Comfy.BrowseTemplates")
        self.page.get_by_text(PACK_NAME, exact=True).first.click()
        self.page.get_by_test_id(f"template-workflow-{name}").click()
        self.page.wait_for_function("() => app.graph.nodes.some(node => node.type.startsWith('UniTalking'))")
        self.page.get_by_test_id("template-workflows-content").wait_for(state="hidden")

    def command(self, name: str) -> None:
        """Runs one of the editor's commands, as its menus and keys do."""
        self.page.evaluate("name => app.extensionManager.command.execute(name)", name)

    def prompt(self) -> dict[str, Any]:
        """What the editor would queue: node types and inputs, by id."""
        nodes = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return {number: {key: node[key] for key in ("class_type", "inputs")} for number, node in nodes.items()}

    def workflow(self) -> dict[str, Any]:
        """The graph as the editor saves it."""
        return self.page.evaluate("() => app.graph.serialize()")

    def run(self, timeout_s: float = 120) -> list[str]:
        """Presses Run and waits for the end; the kinds of events that came."""
        self.page.evaluate("() => { heard.length = 0 }")
        self.page.get_by_test_id("queue-button").click()
        self.page.wait_for_function(
            "() => heard.some(kind => kind.startsWith('execution_'))", timeout=1000 * timeout_s, polling=200
        )
        return self.page.evaluate("() => [...new Set(heard)].sort()")

    def select(self, node_type: str) -> None:
        """Selects the only node of a type, in the middle of the canvas."""
        self.page.evaluate(
            """type => {
                const node = app.graph.nodes.find(node => node.type === type)
                app.canvas.centerOnNode(node)
                app.canvas.selectNode(node)
            }""",
            node_type,
        )

    def shoot(self, name: str, *, whole_graph: bool = False) -> Path:
        """A screenshot, of the whole graph if asked for; its file."""
        if whole_graph:
            self.command("Comfy.Canvas.FitView")
        self.page.wait_for_timeout(700)  # the canvas glides
        path = self.shots / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    @property
    def wrong_nodes(self) -> list[str]:
        """Types of nodes that are missing or red."""
        return self.page.evaluate(WRONG_NODES)

    @property
    def errors(self) -> list[str]:
        """What the browser's console calls an error, with its address, but for what is ordinary."""
        return [line for line in self.complaints if not ORDINARY.search(line)]


def _with_address(line: ConsoleMessage) -> str:
    return f"{line.text} <{line.location['url']}>"


@contextmanager
def opened(browser: Browser, url: str, shots: Path) -> Iterator[Editor]:
    """An editor of a person who is there for the first time but has closed the welcome."""
    context = browser.new_context(viewport=SCREEN)
    editor = Editor(context.new_page(), url, shots)
    defaults = {
        "Comfy.TutorialCompleted": True,
        "LiteGraph.Canvas.MinFontSizeForLOD": 0,
        "Comfy.Locale": "en",
        "Comfy.VueNodes.Enabled": False,
    }
    for name, value in defaults.items():
        editor.set(name, value)
    editor.open()
    yield editor
    context.close()
