"""Line charts of the last hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nicegui.elements.echart  # noqa: F401 -- serves the library that `Plot` fetches
from nicegui import ui
from nicegui.element import Element

from nodegate.daemon.history import History, Point
from nodegate.dashboard.hub import Look
from nodegate.dashboard.words import spark, window
from nodegate.model import Instant

POINTS = 180
"""Points of one line: 20 seconds each, which is about one for three pixels of a screen."""
CHART_EVERY = 5
"""Looks between two drawings of a chart: 10 seconds, half a point."""
COLOURS = ("#2f7fb3", "#c0504d", "#c98a1b", "#3c9460", "#7d6bb0", "#5f7486", "#b0568d", "#4a9a9a")
"""Readable on light and on dark ground."""
GREY = "#7b8896"
OWN = {"up": "#3c9460", "degraded": "#c98a1b", "down": "#c0504d", "unknown": GREY, "errors": "#c0504d"}
"""Lines whose colour means something."""

Unit = Callable[[float], float]


class Plot(Element, component=Path("assets") / "plot.js"):
    """What ECharts makes of `options`; call `update` after a change of them."""

    def __init__(self, label: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.props["options"] = options
        self.props["role"], self.props["aria-label"] = "img", label
        self.classes("chart")

    @property
    def options(self) -> dict[str, Any]:
        """In ECharts' own terms."""
        options: dict[str, Any] = self.props["options"]
        return options

    @options.setter
    def options(self, options: dict[str, Any]) -> None:
        self.props["options"] = options


class Chart:
    """Lines over one hour. `lines` maps what the legend says to the history's series; `scale` turns a value into
    the unit that `title` names."""

    def __init__(
        self, history: History, *, title: str, lines: Mapping[str, str], scale: Unit = lambda value: value
    ) -> None:
        self._history = history
        self._lines = dict(lines)
        self._scale = scale
        self._chart = Plot(f"{title}, the last hour", _options(title))
        self._number = 0

    def show(self, look: Look, lines: Mapping[str, str] | None = None) -> None:
        """Draw anew, at every `CHART_EVERY`th look; `lines` replaces which ones."""
        if self._number and look.number - self._number < CHART_EVERY:
            return
        self._number, now = look.number, look.at
        if lines is not None:
            self._lines = dict(lines)
        since = window(look.snapshot.started_at, now)
        series = [
            _line(label, self._points(name, since), OWN.get(label, colour))
            for (label, name), colour in zip(self._lines.items(), _colours(len(self._lines)), strict=True)
        ]
        self._chart.options["xAxis"] |= {"min": round(since * 1000), "max": round(now * 1000)}
        self._chart.options["series"] = series
        self._chart.update()

    def _points(self, name: str, since: Instant) -> list[list[float]]:
        points = self._history.series(name, since=since, points=POINTS)
        return [[round(point.at * 1000), round(self._scale(point.value), 3)] for point in points]


def node_options(
    title: str, points: Sequence[Point], since: Instant, now: Instant, scale: Unit
) -> dict[str, Any]:
    """The options of a chart of one node's series."""
    options = _options(title)
    options["xAxis"] |= {"min": round(since * 1000), "max": round(now * 1000)}
    data = [[round(point.at * 1000), round(scale(point.value), 3)] for point in points]
    options["series"] = [_line(title, data, COLOURS[0])]
    options["legend"]["show"] = False
    options["yAxis"] = {**options["yAxis"], "min": None, "scale": True}
    return options


class Trend:
    """A small line without axes beside a figure."""

    def __init__(self, history: History, name: str, label: str) -> None:
        self._history = history
        self._name = name
        self._svg = ui.element("svg").classes("trend")
        self._svg.props(
            f'viewBox="0 0 80 20" preserveAspectRatio="none" role="img" aria-label="{label}, the last hour"'
        )
        with self._svg:
            self._path = ui.element("path").props('d="M0 19"')
        self._drawn = ""
        self._number = 0

    def show(self, look: Look) -> None:
        """Draw the last hour, at every `CHART_EVERY`th look."""
        if self._number and look.number - self._number < CHART_EVERY:
            return
        self._number, now = look.number, look.at
        since = window(look.snapshot.started_at, now)
        path = spark(self._history.series(self._name, since=since, points=80), since, now) or "M0 19"
        if path != self._drawn:
            self._drawn = path
            self._path.props["d"] = path


def _colours(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]


def _line(label: str, data: list[list[float]], colour: str) -> dict[str, Any]:
    return {
        "name": label, "type": "line", "data": data, "showSymbol": False, "animation": False,
        "lineStyle": {"width": 1.5, "color": colour}, "itemStyle": {"color": colour},
    }  # fmt: skip


def _options(title: str) -> dict[str, Any]:
    words = {"color": GREY, "fontFamily": "system-ui, sans-serif", "fontSize": 12}
    line = {"lineStyle": {"color": "rgba(128,140,155,.25)"}}
    return {
        "animation": False,
        "textStyle": words,
        "grid": {"left": 8, "right": 18, "top": 30, "bottom": 4, "containLabel": True},
        "legend": {"left": 0, "top": 0, "icon": "roundRect", "itemWidth": 14, "itemHeight": 3, "textStyle": words},
        "tooltip": {"trigger": "axis", "confine": True, "renderMode": "richText"},
        "xAxis": {"type": "time", "axisLabel": words | {"hideOverlap": True}, "axisLine": line, "axisTick": {"show": False}},
        "yAxis": {"type": "value", "min": 0, "axisLabel": words, "splitLine": line},
        "series": [],
    }  # fmt: skip
