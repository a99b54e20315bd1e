"""Opens a page in a real browser without a screen and tells what happened; run as a program of its own.

    python browser.py PAGE WIDTH SCREENSHOT EXPRESSION [SCHEME] [KEYS]

SCHEME is `light` or `dark`. KEYS are pressed before the expression is evaluated, as `Tab Tab Right`; `Tab>SELECTOR`
presses Tab until an element of that selector has the focus.

Prints JSON: `errors` (what scripts complained of), `requests` (every address asked for beside the page itself and
`data:`), `value` (of the JavaScript expression), `focus` (what has the focus after each key and whether one sees that),
and writes a screenshot. The browser is the Chromium in
PyQt6-WebEngine, which pip installs (`pip install PyQt6-WebEngine`).
"""

import json
import os
import sys
from pathlib import Path

FOCUS = """(() => {
  const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
  return {tag: element.tagName.toLowerCase(), classes: element.getAttribute("class") || "",
    name: element.getAttribute("aria-label") || element.textContent.trim().slice(0, 80),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    chart: element.closest("figure")?.querySelector(".legend")?.textContent,
    inside: box.bottom > 0 && box.top < window.innerHeight, matches: element.matches(SELECTOR)};
})()"""
MOST_TABS = 150


def main(page: str, width: str, screenshot: str, expression: str, scheme: str = "light", keys: str = "") -> int:
    """Open the page, let it settle, press keys, evaluate the expression, take the picture."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    scheme_flag = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = f"--no-sandbox --disable-gpu {scheme_flag}"
    from PyQt6.QtCore import Qt, QTimer, QUrl  # pyright: ignore[reportMissingImports]
    from PyQt6.QtTest import QTest  # pyright: ignore[reportMissingImports]
    from PyQt6.QtWebEngineCore import (  # pyright: ignore[reportMissingImports]
        QWebEnginePage,
        QWebEngineProfile,
        QWebEngineUrlRequestInterceptor,
    )
    from PyQt6.QtWebEngineWidgets import QWebEngineView  # pyright: ignore[reportMissingImports]
    from PyQt6.QtWidgets import QApplication  # pyright: ignore[reportMissingImports]

    found: dict[str, object] = {"errors": [], "requests": [], "loaded": False}
    errors: list[str] = []
    requests: list[str] = []
    own = QUrl.fromLocalFile(str(Path(page).resolve()))

    class Interceptor(QWebEngineUrlRequestInterceptor):
        def interceptRequest(self, info: object) -> None:  # noqa: N802
            url = info.requestUrl()  # type: ignore[attr-defined]
            if url.scheme() != "data" and url.path() != own.path():
                requests.append(url.toString())

    class Page(QWebEnginePage):
        def javaScriptConsoleMessage(  # noqa: N802
            self,
            level: QWebEnginePage.JavaScriptConsoleMessageLevel,
            message: str | None,
            lineNumber: int,
            sourceID: str | None,
        ) -> None:
            errors.append(f"{level}: {message} (line {lineNumber} of {(sourceID or '')[:80]})")

    application = QApplication(sys.argv[:1])
    profile = QWebEngineProfile()
    interceptor = Interceptor()
    profile.setUrlRequestInterceptor(interceptor)
    view = QWebEngineView()
    document = Page(profile, view)
    view.setPage(document)
    view.resize(int(width), 900)

    def finish(value: object) -> None:
        found["value"] = json.loads(str(value))
        view.grab().save(screenshot)
        application.quit()

    waiting = keys.split()
    focus: list[dict[str, object]] = []

    def press() -> None:
        """The next key; after the last one the expression is evaluated."""
        if not waiting:
            document.runJavaScript(f"JSON.stringify({expression})", finish)
            return
        key, _, selector = waiting[0].partition(">")
        QTest.keyClick(view.focusProxy(), getattr(Qt.Key, f"Key_{key}"))  # pyright: ignore[reportCallIssue]
        script = f"JSON.stringify({FOCUS.replace('SELECTOR', json.dumps(selector or '*'))})"

        def pressed(text: object) -> None:
            focus.append(json.loads(str(text)))
            if focus[-1]["matches"] or len(focus) >= MOST_TABS:
                waiting.pop(0)
            press()

        QTimer.singleShot(40, lambda: document.runJavaScript(script, pressed))

    def loaded(ok: bool) -> None:
        found["loaded"] = ok
        view.activateWindow()
        view.setFocus()
        QTimer.singleShot(700, press)

    view.loadFinished.connect(loaded)
    view.load(own)
    view.show()
    QTimer.singleShot(45_000, application.quit)
    application.exec()
    found |= {"errors": errors, "requests": requests, "focus": focus}
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # Qt's own teardown order is not ours to test


if __name__ == "__main__":
    main(*sys.argv[1:])
