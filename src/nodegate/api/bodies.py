"""What callers may send, and how strictly it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from nodegate.model import Intent
from nodegate.registry.records.strictjson import strict_json
from nodegate.settings import Name, Scalar, Url


class NodeChanges(BaseModel):
    """The fields of a node to change; those that are left out stay as they are.

    The id cannot be changed: add a new node instead. `options` are replaced as a whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    intent: Annotated[Intent, Field(strict=False)] = Field(
        Intent.SERVE, description="serve, drain (no new requests), or remove (drain, then forget)"
    )
    weight: int = Field(100, ge=0, le=256)
    maxconn: int | None = Field(None, ge=1, description="requests at once; null: the pool's setting")
    pool: Name = "main"
    url: Url = ""
    kind: Name = ""
    tls_verify: bool = True
    options: dict[str, Scalar] = Field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """Only what the caller sent."""
        return self.model_dump(exclude_unset=True)


class StrictRequest(Request):
    """A request whose JSON has one meaning: no name twice, no NaN, no bottomless nesting."""

    async def json(self) -> Any:
        """The body's value; what is not JSON at all is left to the framework's own report."""
        body = await self.body()
        try:
            return strict_json(body)
        except json.JSONDecodeError:
            raise
        except UnicodeDecodeError as error:
            raise HTTPException(422, "not valid JSON: the body is not UTF-8") from error
        except ValueError as error:
            raise HTTPException(422, f"not valid JSON: {error}") from error


class StrictRoute(APIRoute):
    """A route that reads its body as a StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given the stricter request."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strict
