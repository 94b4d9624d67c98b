"""What the three services that take commands share: one publisher, ids, answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, FastAPI, Header, HTTPException, Path, Request
from pydantic import BaseModel

from conf.kafka import python_security
from conf.settings import Settings
from contract.facts import IDENTIFIER, Fact, format_time
from contract.principals import PRINCIPAL_BY_NAME
from contract.results import Token
from producers.ownership import Ownership
from producers.publisher import REFUSED, BrokerUnavailable, InDoubt, Publisher
from service.auth import CurrentUser

RETRY_AFTER_SECONDS = 2
NOTHING_STORED = "nothing can be stored at the moment; try again"
IN_DOUBT = "this may be stored or not; try again with the same Idempotency-Key, and it counts once"
log = structlog.get_logger()

PostId = Annotated[str, Path(pattern=f"^{IDENTIFIER}$")]
CommentId = Annotated[str, Path(pattern=f"^{IDENTIFIER}$")]


class Answer(BaseModel):
    """The ids of the stored fact, and the token that `?after=` takes."""

    event_id: str
    post_id: str
    comment_id: str | None = None
    image_url: str | None = None
    token: str


class Publishers:
    """A publisher a service, since each writes as its own principal; services behind one port are here together."""

    def __init__(self) -> None:
        self._by_topic: dict[str, Publisher] = {}

    def open(self, settings: Settings) -> None:
        """One for the topics of the service that these settings act as."""
        topics = PRINCIPAL_BY_NAME[settings.principal].writes
        publisher = Publisher(settings.bootstrap, topics=topics, security=python_security(settings))
        self._by_topic.update(dict.fromkeys(topics, publisher))

    def complaint(self) -> str | None:
        """None while any of them can publish, else why not."""
        complaints = [publisher.complaint() for publisher in self._by_topic.values()]
        return complaints[0] if all(complaints) else None

    def wait_until_ready(self, timeout: float | None = None) -> None:
        """Return once all are connected; BrokerUnavailable where one takes longer than `timeout` seconds."""
        for publisher in self._by_topic.values():
            publisher.wait_until_ready(timeout)

    async def publish(self, fact: Fact) -> Token:
        """As the service whose topic the fact belongs to."""
        return await self._by_topic[fact.topic].publish(fact)

    def close(self) -> None:
        """Deliver what was sent, and stop."""
        for publisher in self._by_topic.values():
            publisher.close()


@asynccontextmanager
async def command_resources(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """The service's publisher, beside those of other services behind this port; the ownership of ids is one."""
    is_first = not hasattr(app.state, "publisher")
    if is_first:
        app.state.ownership = Ownership(settings.jwt_key())
        app.state.publisher = Publishers()
    publishers: Publishers = app.state.publisher
    publishers.open(settings)
    try:
        yield
    finally:
        if is_first:
            del app.state.publisher
            await asyncio.to_thread(publishers.close)


def publisher_health(app: FastAPI) -> str | None:
    """None while facts can be published."""
    publishers: Publishers = app.state.publisher
    return publishers.complaint()


class Commands:
    """Publishes what one request asks for, in the name of its user."""

    def __init__(self, request: Request, user_id: str, idempotency_key: str | None) -> None:
        self.user_id = user_id
        self.ownership: Ownership = request.app.state.ownership
        self._publisher: Publishers = request.app.state.publisher
        self._idempotency_key = idempotency_key
        if self._publisher.complaint():  # /healthz and the log say what it is
            REFUSED.inc()
            raise unavailable()

    def uuid(self, purpose: str, *about: str) -> UUID:
        """A new UUIDv7, or the one that this Idempotency-Key stands for, with what it is `about`."""
        if self._idempotency_key is None:
            return self.ownership.fresh()
        return self.ownership.repeatable(purpose, self.user_id, self._idempotency_key, *about)

    def refuse_strangers(self, identifier: str, *owner: str) -> None:
        """403 where the id is somebody else's."""
        if self.ownership.is_stranger(identifier, *owner):
            raise HTTPException(403, f"{identifier} is not yours")

    async def publish(self, fact: Fact) -> Answer:
        """Answer once the broker has acknowledged; 503 where it does not."""
        try:
            token = await self._publisher.publish(fact)
        except BrokerUnavailable as error:
            log.warning("a command was refused", reason=str(error))
            raise unavailable(IN_DOUBT if isinstance(error, InDoubt) else NOTHING_STORED) from error
        shown = fact.model_dump(include={"event_id", "post_id", "comment_id", "image_url"})
        return Answer(**shown, token=str(token))


async def commands(
    request: Request,
    user_id: CurrentUser,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="A retry with the same key counts once."),
    ] = None,
) -> Commands:
    """Async, since FastAPI would call a class in a thread."""
    return Commands(request, user_id, idempotency_key)


Command = Annotated[Commands, Depends(commands)]


def unavailable(why: str = NOTHING_STORED) -> HTTPException:
    """503, and whether this command may have happened all the same."""
    return HTTPException(503, why, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def now() -> str:
    """The time that a fact made by a service is dated with."""
    return format_time(datetime.now(timezone.utc))
