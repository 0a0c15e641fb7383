"""Routes that services bring along: which requests lead to which nodes, with what share, and what is done to a
request on its way. Pure values and rules, whoever wrote the routes down.
"""

from __future__ import annotations

from nodegate.routes.lookup import Rules, in_order, lookup, normal_host
from nodegate.routes.values import Matcher, PlacedRoute, Redirect, Route, Target, Treatment, Variant

__all__ = [
    "Matcher",
    "PlacedRoute",
    "Redirect",
    "Route",
    "Rules",
    "Target",
    "Treatment",
    "Variant",
    "in_order",
    "lookup",
    "normal_host",
]
