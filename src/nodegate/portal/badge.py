"""The badge: a node's status as a small picture for its owner's site. Pure."""

from __future__ import annotations

from xml.sax.saxutils import escape

# Backgrounds on which white text has a contrast of at least 4.5.
_COLOURS = {
    "up": "#1a7f37",
    "degraded": "#9a6700",
    "down": "#b42318",
    "paused": "#57606a",
    "unknown": "#57606a",
}
_CHARACTER = 7
"""Pixels that one character of 11 px takes, with some room: fonts differ, and nothing here can measure."""
MAX_LABEL = 40


def badge(label: str, status: str) -> str:
    """An SVG with the label and the status' word; an unknown status is grey. No script, no style, no link."""
    name = label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 1]}…"
    left, right = _CHARACTER * len(name) + 14, _CHARACTER * len(status) + 14
    colour = _COLOURS.get(status, _COLOURS["unknown"])
    title = escape(f"{name}: {status}", {'"': "&quot;"})
    text = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" fill="#fff" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{title}">'
        f"<title>{title}</title>"
        f'<rect width="{left + right}" height="20" rx="3" fill="#24292f"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" fill="{colour}"/>'
        f'<g {text}><text x="{left / 2}" y="14">{escape(name)}</text>'
        f'<text x="{left + right / 2}" y="14">{escape(status)}</text></g></svg>'
    )
