"""A Snapshot as documents: the one truth for the command line, the admin API and the metrics. Pure."""

from __future__ import annotations

from nodegate.views.models import (
    ChangeRow,
    HaproxyView,
    NodeDetail,
    NodeRow,
    NodesDocument,
    ObservationView,
    PlanDocument,
    PoolRow,
    RegistryView,
    ServerRow,
    StatusDocument,
    View,
    WithheldRow,
)
from nodegate.views.nodes import (
    change_row,
    detail_of,
    node_detail,
    node_rows,
    nodes_document,
    plan_document,
    status_of,
)
from nodegate.views.status import pool_rows, status_document
from nodegate.views.words import iso, span

__all__ = [
    "ChangeRow",
    "HaproxyView",
    "NodeDetail",
    "NodeRow",
    "NodesDocument",
    "ObservationView",
    "PlanDocument",
    "PoolRow",
    "RegistryView",
    "ServerRow",
    "StatusDocument",
    "View",
    "WithheldRow",
    "change_row",
    "detail_of",
    "iso",
    "node_detail",
    "node_rows",
    "nodes_document",
    "plan_document",
    "pool_rows",
    "span",
    "status_document",
    "status_of",
]
