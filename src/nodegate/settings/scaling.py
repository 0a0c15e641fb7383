"""`[pools.NAME.scaling]`: how many healthy nodes a pool wants, and who starts and stops them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from nodegate.settings.base import Section

Word = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
Command = Annotated[tuple[Word, ...], Field(min_length=1)]


class ScalingSettings(Section):
    """`[pools.NAME.scaling]`: keep the pool at its size by calling a provider."""

    size: int = Field(ge=1, le=10_000, description="healthy nodes to keep, whatever the load")
    start: Command = Field(
        description="program and arguments that start one node; no shell. See scaling.md for the contract"
    )
    stop: Command = Field(description="program and arguments that stop one node; no shell")
    max_started: int = Field(
        5,
        ge=1,
        le=10_000,
        description="nodes of nodegate's own that may exist at once, broken ones too: what a fault can cost at most",
    )
    load_per_node: float | None = Field(
        None,
        gt=0,
        description="requests a second that one node is to carry; more ask for more nodes. None: the size does not follow the load",
    )
    max_size: int | None = Field(
        None, ge=1, le=10_000, description="healthy nodes that the load may ask for at most; None: no bound"
    )
    cooldown: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="seconds between two actions; after a failed one twice that, then four times, up to an hour",
    )
    timeout: float = Field(
        300.0,
        ge=0.1,
        le=3600,
        description="seconds a command may take; a cloud needs a minute or two for a machine",
    )
    join_timeout: float = Field(
        900.0,
        gt=0,
        le=604_800,
        description="seconds a started node has to become healthy; a full node must first get in step",
    )
    replace_after: float = Field(
        300.0,
        ge=0,
        le=604_800,
        description="seconds a node of nodegate's own must have been out before it is stopped for good",
    )
    idle_for: float = Field(
        600.0, ge=0, le=604_800, description="seconds a node must have been one too many before it is stopped"
    )
    dry_run: bool = Field(False, description="decide, log and show, and call no command")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.max_size is not None and self.max_size < self.size:
            raise ValueError(f"max_size = {self.max_size} is less than size = {self.size}")
        return self
