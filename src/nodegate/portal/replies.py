"""The portal's answers: pages with a form, messages, and every failure as a page that says what to do."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from nodegate.errors import Malformed, NodegateError, NotFound, Refused, Unavailable
from nodegate.portal.answers import Limited
from nodegate.portal.pages import Pages
from nodegate.portal.tokens import Purpose
from nodegate.portal.web import FORM_COOKIE, Forms, html
from nodegate.ports import Clock
from nodegate.views import span

log = logging.getLogger("nodegate.portal")

_OVER = "This link does not work any more"

Handler = Callable[[Request], Awaitable[Response]]


class Replies:
    """Makes the answers of one portal."""

    def __init__(self, *, pages: Pages, forms: Forms, clock: Clock) -> None:
        self._pages = pages
        self._forms = forms
        self._clock = clock

    def page(self, request: Request, name: str, status: int, **values: object) -> Response:
        """A page with a form, and the cookie that the form belongs to."""
        cookie, token = self._forms.token(request, self._clock.now())
        response = html(self._pages.page(name, form_token=token, **values), status)
        self._forms.keep(response, FORM_COOKIE, cookie)
        return response

    def sent(self, email: str, examined: object = None) -> Response:
        """A mail is on its way. Everybody who may not know more gets this answer too."""
        return html(self._pages.page("sent", email=email, examined=examined))

    def over(self, request: Request, text: str, purpose: Purpose, token: str) -> Response:
        """A link that has expired or was used, with a button for a new one."""
        action = f"{self._pages.base}/{purpose.value}/{token}/renew"
        return self.page(request, "over", 410, heading=_OVER, text=text, action=action)

    def limited(self, limited: Limited) -> Response:
        """Too much within a while."""
        text = f"{limited.what}. Please come back in {span(limited.seconds)}."
        headers = {"Retry-After": str(math.ceil(limited.seconds))}
        return self.message("That was a lot", text, 429, headers)

    def message(
        self, heading: str, text: str, status: int, headers: dict[str, str] | None = None
    ) -> Response:
        """Bad news, and the way back to the beginning."""
        page = self._pages.page(
            "message", heading=heading, text=text, tone="bad", back="/", back_words="Back to the beginning"
        )
        return html(page, status, headers)

    def guarded(self, handler: Handler) -> Handler:
        """The handler, with its failures as pages."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except NotFound as error:
                return self.message("Not here", str(error), 404)
            except Malformed as error:
                return self.message("That form did not work", str(error), 400)
            except Refused as error:
                return self._refused(request, error)
            except Unavailable as error:
                log.warning("the portal cannot serve %s: %s", request.url.path.split("/")[1], error)
                text = (
                    "Something that this page needs does not answer just now. Please try again in a minute."
                )
                return self.message("Please try again", text, 503, {"Retry-After": "60"})
            except NodegateError as error:
                log.error("the portal failed: %s", error)
                return self.message("That did not work", "Please try again in a minute.", 503)

        return guarded

    def _refused(self, request: Request, error: Refused) -> Response:
        if "token" in request.path_params and request.method == "GET":
            return self.page(request, "over", 403, heading=_OVER, text=_sentence(error), action="")
        return self.message("That did not work", _sentence(error), 403)

    async def not_found(self, request: Request, error: HTTPException) -> Response:
        """A path or a method that there is not."""
        if error.status_code == 404:
            return self.message("Not here", "There is no such page.", 404)
        return self.message("That did not work", "This page cannot be used in that way.", error.status_code)

    async def broken(self, request: Request, error: Exception) -> Response:
        """A fault of nodegate's own."""
        log.exception("the portal failed by a fault of nodegate's own", exc_info=error)
        return self.message("That did not work", "This is a fault of ours. It has been noted.", 500)


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
