"""Rules for the neighbours of nodes, by what `nodegate neighbours watch --serve` exports. Pure.

A neighbour is dead in the watch's own words: quiet for its grace period. The hour before one dead neighbour is worth
a word is the playbook's for inactive neighbours; that all are silent is told at once.
"""

from __future__ import annotations

from nodegate.render.promrule import CRITICAL, WARNING, PromRule

JOB = "nodegate-neighbours"
PATH = "/metrics"

NEIGHBOUR_RULES: tuple[PromRule, ...] = tuple(
    rule._replace(group="nodegate-neighbours")
    for rule in (
        PromRule("NeighboursUnseen", f'up{{job="{JOB}"}} == 0 or nodegate_neighbours_up == 0', WARNING, "5m",
                 "the neighbours of {{ $labels.instance }} cannot be seen",
                 "The node does not answer, or nodegate neighbours watch does not run."),
        PromRule("NeighbourDead", "nodegate_neighbour_dead == 1", WARNING, "1h",
                 "{{ $labels.neighbour }} brings {{ $labels.instance }} nothing new",
                 "nodegate neighbours remove takes it away; watch --remove-dead does so by itself."),
        PromRule("NeighboursCutOff", "nodegate_neighbours_cut_off == 1", CRITICAL, "1m",
                 "no neighbour brings {{ $labels.instance }} anything new",
                 "The node is cut off, or its network stands still: see its link, its clock and its log."),
        PromRule("NeighboursFew",
                 'sum by (job, instance) (nodegate_neighbours{state!="dead"}) < 2', WARNING, "1m",
                 "{{ $labels.instance }} has {{ $value }} neighbours that are alive",
                 "With fewer than two a node depends on one view of its network."),
    )
)  # fmt: skip
