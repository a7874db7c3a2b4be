"""The one HTML page: a terminal that fills the window. It loads nothing from elsewhere."""

from __future__ import annotations

from html import escape

STYLE = """
@font-face {
  font-family: "Roboto Mono";
  src: url("static/fonts/RobotoMono-VariableFont_wght.ttf");
}
html, body { margin: 0; height: 100%; background: #101418; overflow: hidden; }
.textual-terminal { position: absolute; inset: 0; }
.over {
  display: none; position: absolute; inset: auto 0 0 0; padding: 8px; z-index: 10;
  background: #24303a; color: #f0f4f8; font: 15px "Roboto Mono", monospace; text-align: center;
}
.over a { color: #8fd0ff; }
body.-closed .over { display: block; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static/css/xterm.css">
<style>{style}</style>
<script src="static/js/textual.js"></script>
<script src="focus.js" defer></script>
</head>
<body>
<div class="textual-terminal" data-session-websocket-url="{websocket}" data-font-size="{font}">
</div>
<div class="over">The session is over; the training is not. <a href="./">Open it again</a></div>
</body>
</html>
"""

FOCUS = """
// Keys reach the terminal without a click, which would set a cursor; after a change of tabs, too.
const focus = () => {
  if (!document.body.classList.contains("-first-byte")) return false;
  document.querySelector(".xterm-helper-textarea")?.focus();
  return true;
};
new MutationObserver((_, observer) => {
  if (focus()) observer.disconnect();
}).observe(document.body, { attributeFilter: ["class"] });
window.addEventListener("focus", focus);
"""

HEADERS = {
    # xterm.js writes style elements for its cells.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "font-src 'self'; img-src 'self' data:; connect-src 'self' {websocket}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    # The token is in the address.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def page(title: str, page_url: str, font_size: int) -> tuple[str, dict[str, str]]:
    """The page and its headers, for a browser that sees it at `page_url`."""
    websocket = "ws" + page_url.removeprefix("http") + "ws"
    text = PAGE.format(
        title=escape(title), style=STYLE, websocket=escape(websocket), font=font_size
    )
    return text, {name: value.format(websocket=websocket) for name, value in HEADERS.items()}
