"""Opens a page in a real browser without a screen and tells what happened; run as a program of its own.

    python browser.py PAGE WIDTH SCREENSHOT EXPRESSION

Prints JSON: `errors` (what scripts complained of), `requests` (every address asked for beside the page itself and
`data:`), `value` (of the JavaScript expression), and writes a screenshot. The browser is the Chromium in
PyQt6-WebEngine, which pip installs (`pip install PyQt6-WebEngine`).
"""

import json
import os
import sys
from pathlib import Path


def main(page: str, width: str, screenshot: str, expression: str) -> int:
    """Open the page, let it settle, evaluate the expression, take the picture."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = "--no-sandbox --disable-gpu"
    from PyQt6.QtCore import QTimer, QUrl  # pyright: ignore[reportMissingImports]
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

    def loaded(ok: bool) -> None:
        found["loaded"] = ok
        script = f"JSON.stringify({expression})"
        QTimer.singleShot(700, lambda: document.runJavaScript(script, finish))

    view.loadFinished.connect(loaded)
    view.load(own)
    view.show()
    QTimer.singleShot(45_000, application.quit)
    application.exec()
    found |= {"errors": errors, "requests": requests}
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # Qt's own teardown order is not ours to test


if __name__ == "__main__":
    main(*sys.argv[1:])
