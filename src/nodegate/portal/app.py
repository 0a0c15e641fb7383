"""The portal's pages as one ASGI application. Works without scripts; every change is a POST of a form."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from nodegate.errors import NotFound, Refused
from nodegate.model import Seconds, Snapshot
from nodegate.portal.answers import Application, Limited, LinkOver, Sent, Wrong
from nodegate.portal.badges import Badges
from nodegate.portal.check import Examined
from nodegate.portal.desk import Desk
from nodegate.portal.owners import Owners
from nodegate.portal.ownerview import owned_node
from nodegate.portal.pages import Pages
from nodegate.portal.places import DEFAULT_PORTS
from nodegate.portal.records import OPEN, State
from nodegate.portal.replies import Replies
from nodegate.portal.tokens import Purpose
from nodegate.portal.web import SESSION_COOKIE, Forms, Frame, client_of, form_of, static
from nodegate.ports import Clock
from nodegate.settings.portal import PortalSettings

_LINKS = {
    Purpose.CONFIRM: ("Confirm your node", "One click and you are done. This confirms that the e-mail address is yours, and lets the node join:", "Confirm and join"),
    Purpose.OWNER: ("Open your page", "This opens the page of your nodes in this browser.", "Open my page"),
}  # fmt: skip
_DONE = {"pause": "paused", "resume": "resumed", "leave": "left"}
_NOTES = {
    "paused": "Paused. Requests under way may finish; there will be no new ones.",
    "resumed": "Resumed. Your node serves again as soon as it has answered well.",
    "left": "Done. Your node is on its way out. Thank you for having served.",
    "confirmed": "Confirmed. Thank you!",
}
_STATIC = {"/style.css": "text/css", "/icon.svg": "image/svg+xml"}


class Portal:
    """The handlers. What they share: the desk, the owners' side, the pages, the forms."""

    def __init__(
        self, *, settings: PortalSettings, desk: Desk, owners: Owners, pages: Pages, forms: Forms, badges: Badges,
        clock: Clock, snapshot: Callable[[], Snapshot],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._desk = desk
        self._owners = owners
        self._pages = pages
        self._forms = forms
        self._badges = badges
        self._clock = clock
        self._replies = Replies(pages=pages, forms=forms, clock=clock)
        self._snapshot = snapshot

    def app(self, *, base: str, secure: bool) -> Frame:
        """The whole application."""
        routes = [
            Route("/", self._replies.guarded(self.show_form), methods=["GET"]),
            Route("/", self._replies.guarded(self.register), methods=["POST"]),
            Route("/link", self._replies.guarded(self.show_link), methods=["GET"]),
            Route("/link", self._replies.guarded(self.send_link), methods=["POST"]),
            Route(
                "/{purpose:str}/{token:str}",
                self._replies.guarded(self.show_token),
                methods=["GET"],
                name="token",
            ),
            Route("/{purpose:str}/{token:str}", self._replies.guarded(self.use_token), methods=["POST"]),
            Route("/{purpose:str}/{token:str}/renew", self._replies.guarded(self.renew), methods=["POST"]),
        ]
        first = [
            *(Route(path, static(path, kind), methods=["GET"]) for path, kind in _STATIC.items()),
            Route("/badge/{node:str}.svg", self._replies.guarded(self._badges.show), methods=["GET"]),
            Route("/mine", self._replies.guarded(self.show_mine), methods=["GET"]),
            Route("/mine/{id:str}/{deed:str}", self._replies.guarded(self.act), methods=["POST"]),
            Route("/signout", self._replies.guarded(self.sign_out), methods=["POST"]),
        ]
        app = Starlette(
            routes=[*first, *routes],
            exception_handlers={HTTPException: self._replies.not_found, 500: self._replies.broken},  # type: ignore[dict-item]
        )
        # Starlette would answer `/link/` with a redirect to whatever the Host header says, and without the prefix.
        app.router.redirect_slashes = False
        return Frame(app, base=base, secure=secure)

    # The form

    async def show_form(self, request: Request) -> Response:
        """Where it begins."""
        return self._form(request, {})

    async def register(self, request: Request) -> Response:
        """Check form and node, send the mail."""
        fields = await form_of(request)
        try:
            self._forms.check(request, fields, self._clock.now())
        except Refused as error:
            return self._form(request, fields, status=403, note=str(error))
        if fields.get(
            "website"
        ):  # nobody sees this field; programs that fill in everything get the usual answer
            return self._replies.sent(fields.get("email", ""))
        outcome = await self._desk.apply(
            Application(
                email=fields.get("email", ""),
                place=fields.get("place", ""),
                kind=fields.get("kind", ""),
                client=client_of(request, self._settings.trusted_proxies),
            )
        )
        if isinstance(outcome, Sent):
            return self._replies.sent(outcome.email, outcome.examined)
        if isinstance(outcome, Limited):
            return self._replies.limited(outcome)
        if isinstance(outcome, Examined):
            return self._form(request, fields, status=422, examined=outcome)
        return self._form(request, fields, status=422, faults=outcome.faults)

    def _form(
        self, request: Request, values: dict[str, str], *, status: int = 200, faults: dict[str, str] | None = None,
        examined: Examined | None = None, note: str = "",
    ) -> Response:  # fmt: skip
        kinds = list(self._desk.kinds)
        known = {name: values.get(name, "") for name in ("email", "place", "kind")}
        return self._replies.page(
            request, "form", status, values=known, faults=_faults(faults), examined=examined, note=note, kinds=kinds,
            example_port=DEFAULT_PORTS.get(kinds[0], 443),
        )  # fmt: skip

    # Links

    async def show_token(self, request: Request) -> Response:
        """What a link leads to, with a button: whoever only opens links (mail scanners) uses none up."""
        purpose, text = _token_of(request)
        try:
            _, registration = await self._desk.look(purpose, text)
        except LinkOver as error:
            return self._replies.over(request, str(error), purpose, text)
        heading, words, button = _LINKS[purpose]
        return self._replies.page(
            request, "button", 200, heading=heading, text=words, button=button,
            place=registration.url if purpose is Purpose.CONFIRM else "",
            action=f"{self._pages.base}/{purpose.value}/{text}",
        )  # fmt: skip

    async def use_token(self, request: Request) -> Response:
        """The button was pressed."""
        purpose, text = _token_of(request)
        self._forms.check(request, await form_of(request), self._clock.now())
        try:
            if purpose is Purpose.CONFIRM:
                registration = await self._desk.confirm(text)
                session = self._owners.session(registration)
                note = "?done=confirmed" if registration.state in OPEN else ""
            else:
                session, note = await self._owners.open(text), ""
        except LinkOver as error:
            return self._replies.over(request, str(error), purpose, text)
        response = RedirectResponse(f"{self._pages.base}/mine{note}", 303)
        life = Seconds(self._settings.session_life)
        self._forms.keep(response, SESSION_COOKIE, session, life=life)
        return response

    async def renew(self, request: Request) -> Response:
        """A new link in place of one that is over."""
        purpose, text = _token_of(request)
        self._forms.check(request, await form_of(request), self._clock.now())
        outcome = await self._desk.renew(purpose, text, client_of(request, self._settings.trusted_proxies))
        return self._link_outcome(request, outcome, {})

    async def show_link(self, request: Request) -> Response:
        """The form that asks for a link."""
        return self._replies.page(request, "link", 200, values={"email": ""}, faults=_faults(None), note="")

    async def send_link(self, request: Request) -> Response:
        """Mail a link, if there is somebody to mail it to."""
        fields = await form_of(request)
        self._forms.check(request, fields, self._clock.now())
        if fields.get("website"):
            return self._replies.sent(fields.get("email", ""))
        client = client_of(request, self._settings.trusted_proxies)
        return self._link_outcome(
            request, await self._desk.send_link(fields.get("email", ""), client), fields
        )

    def _link_outcome(
        self, request: Request, outcome: Sent | Wrong | Limited, fields: dict[str, str]
    ) -> Response:
        if isinstance(outcome, Limited):
            return self._replies.limited(outcome)
        if isinstance(outcome, Wrong):
            values = {"email": fields.get("email", "")}
            return self._replies.page(
                request, "link", 422, values=values, faults=_faults(outcome.faults), note=""
            )
        # A renewed link goes to an address that the page must not show to whoever found the link.
        shown = outcome.email if fields else "the e-mail address that the old one went to"
        return self._replies.sent(shown)

    # The owner's page

    async def show_mine(self, request: Request) -> Response:
        """All nodes of the owner."""
        session = request.cookies.get(SESSION_COOKIE, "")
        if not session:
            return RedirectResponse(f"{self._pages.base}/link", 303)
        try:
            found = await self._owners.owned(session)
        except Refused as error:
            note = str(error) if session else ""
            return self._replies.page(
                request, "link", 403, values={"email": ""}, faults=_faults(None), note=note
            )
        now, snapshot = self._clock.now(), self._snapshot()
        shown = [one for one in found if one.state is not State.UNCONFIRMED]
        nodes = [owned_node(one, snapshot, now, self._settings) for one in shown]
        note = _NOTES.get(request.query_params.get("done", ""), "")
        return self._replies.page(request, "mine", 200, email=found[0].email, nodes=nodes, note=note)

    async def act(self, request: Request) -> Response:
        """Pause, resume, leave."""
        self._forms.check(request, await form_of(request), self._clock.now())
        deed = request.path_params["deed"]
        await self._owners.act(request.cookies.get(SESSION_COOKIE, ""), request.path_params["id"], deed)
        return RedirectResponse(f"{self._pages.base}/mine?done={_DONE.get(deed, '')}", 303)

    async def sign_out(self, request: Request) -> Response:
        """Close the owner's page in this browser, and the session for good."""
        self._forms.check(request, await form_of(request), self._clock.now())
        if session := request.cookies.get(SESSION_COOKIE, ""):
            await self._owners.close(session)
        response = RedirectResponse(f"{self._pages.base}/", 303)
        self._forms.drop(response, SESSION_COOKIE)
        return response


def _token_of(request: Request) -> tuple[Purpose, str]:
    """Purpose and text of a link. Raises NotFound for paths that are no links."""
    purpose = {item.value: item for item in _LINKS}.get(request.path_params["purpose"])
    if purpose is None:
        raise NotFound("There is no such page.")
    return purpose, request.path_params["token"]


def _faults(faults: dict[str, str] | None) -> dict[str, str]:
    return {"email": "", "place": "", "kind": ""} | (faults or {})
