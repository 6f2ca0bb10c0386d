"""What processes of one installation ask each other over HTTP, read-only: one call, or a report of everything held.

Answers to a process that is not of the installation are 401; 421 says that another process, or none, is meant at this
address; 503 that asking again later helps. A call that is known to be unknown is 200 with ``"call": null``, since a 404 could
be anybody's.
"""

from aiohttp import web

from consumer.console.peers import PREFIX
from consumer.console.problems import Handler, ProblemError, answering_problems, json_response
from consumer.kafka.errors import NotCaughtUp, NotHeld
from consumer.service.held_here import HeldHere
from consumer.service.peer_proof import PeerProof


def internal_routes(here: HeldHere, *, node: str, proof: PeerProof) -> list[web.RouteDef]:
    """Give the routes of a process that holds partitions; ``node`` is its name among them."""

    async def call(request: web.Request) -> web.Response:
        try:
            found = await here.find(request.match_info["account"], request.match_info["call_id"])
        except NotHeld as error:
            raise ProblemError(421, "not held here", str(error)) from error
        except NotCaughtUp as error:
            raise ProblemError(503, "try again", str(error)) from error
        return json_response({"call": found and found.shown, "history": found.history if found else ()})

    async def report(_: web.Request) -> web.Response:
        return json_response(here.report().as_json())

    def asked(handler: Handler) -> Handler:
        async def check(request: web.Request) -> web.StreamResponse:
            if not proof.is_in(request.headers.get("Authorization", "")):
                raise ProblemError(401, "not of this installation", "no account has the same name and API key here")
            if request.query.get("node") != node:
                raise ProblemError(421, "another process is meant", f"this is {node}")
            return await handler(request)

        return answering_problems(check)

    return [
        web.get(f"{PREFIX}/calls/{{account}}/{{call_id:[^/]+}}", asked(call)),
        web.get(f"{PREFIX}/report", asked(report)),
    ]
