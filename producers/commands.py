"""What the three services that take commands share: one publisher, ids, answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

from conf.settings import Settings
from contract.facts import Fact, format_time, new_event_id
from contract.principals import PRINCIPAL_BY_NAME
from producers.ownership import Ownership
from producers.publisher import REFUSED, BrokerUnavailable, ClockAhead, InDoubt, Publisher
from service.auth import CurrentUser

RETRY_AFTER_SECONDS = 2
NOTHING_STORED = "nothing can be stored at the moment; try again"
IN_DOUBT = "this may be stored or not; try again with the same Idempotency-Key, and it counts once"
IN_DOUBT_WITHOUT_KEY = (
    "this may be stored or not; a post or a comment without an Idempotency-Key may be there twice if you try again"
)
NOT_COUNTED = "a clock is wrong here, so that this does not count; try again later"
SET_BACK_SECONDS = 5.0
log = structlog.get_logger()


class Answer(BaseModel):
    """The ids of the stored fact, and the token that `?after=` takes."""

    event_id: str
    user_id: str
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
        publisher = Publisher(settings, topics=topics)
        self._by_topic.update(dict.fromkeys(topics, publisher))

    def of(self, topic: str) -> Publisher:
        """That of the service which writes the topic."""
        return self._by_topic[topic]

    def wait_until_ready(self, timeout: float | None = None) -> None:
        """Return once all are connected; BrokerUnavailable where one takes longer than `timeout` seconds."""
        for publisher in self._by_topic.values():
            publisher.wait_until_ready(timeout)

    def close(self) -> None:
        """Deliver what was sent, and stop."""
        for publisher in self._by_topic.values():
            publisher.close()


@asynccontextmanager
async def command_resources(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """The service's publisher, beside those of other services behind this port; the ownership of ids is one."""
    is_first = not hasattr(app.state, "publisher")
    if is_first:
        app.state.ownership = Ownership(settings.jwt_key(), settings.former_auth_secrets.split())
        app.state.publisher = Publishers()
    publishers: Publishers = app.state.publisher
    publishers.open(settings)
    try:
        yield
    finally:
        if is_first:
            del app.state.publisher
            await asyncio.to_thread(publishers.close)


def publisher_health(topic: str) -> Callable[[FastAPI], str | None]:
    """Tells None while facts of the topic can be published."""

    def health(app: FastAPI) -> str | None:
        publishers: Publishers = app.state.publisher
        return publishers.of(topic).complaint()

    return health


class Commands:
    """Publishes what one request asks for, in the name of its user."""

    def __init__(self, request: Request, user_id: str, idempotency_key: str | None) -> None:
        self.user_id = user_id
        self.ownership: Ownership = request.app.state.ownership
        self._publishers: Publishers = request.app.state.publisher
        self._idempotency_key = idempotency_key

    def uuid(self, purpose: str, *about: str) -> UUID:
        """A new UUIDv7, or the one that this Idempotency-Key stands for, with what it is `about`: post and content.

        Other content under the same key is another command. It could only be refused by who remembers all keys.
        """
        if self._idempotency_key is None:
            return UUID(new_event_id())
        return self.ownership.repeatable(purpose, self.user_id, self._idempotency_key, *about)

    def refuse_strangers(self, identifier: str, *owner: str) -> None:
        """403 where the id is somebody else's."""
        if self.ownership.is_stranger(identifier, *owner):
            raise HTTPException(403, f"{identifier} is not yours")

    def refuse_in_vain(self, topic: str) -> None:
        """503 where a fact of this topic would be refused now; /healthz and the log say why."""
        try:
            self._publishers.of(topic).check()
        except BrokerUnavailable as error:
            REFUSED.inc()
            raise self._refused(error) from error

    async def publish(self, kind: type[Fact], post_id: str, event_id: UUID | None = None, **fields: str) -> Answer:
        """Answer once the broker has acknowledged what the user did just now; 503 where it does not."""
        self.refuse_in_vain(kind.topic)
        known = {"occurred_at": now(), "user_id": self.user_id, "post_id": post_id, **fields}
        fact = kind.model_validate({"event_id": str(event_id or new_event_id()), **known})
        try:
            token = await self._publishers.of(fact.topic).publish(fact)
        except BrokerUnavailable as error:
            log.warning("a command was refused", reason=str(error))
            raise self._refused(error) from error
        shown = fact.model_dump(include={"event_id", "user_id", "post_id", "comment_id", "image_url"})
        return Answer(**shown, token=str(token))

    def _refused(self, error: BrokerUnavailable) -> HTTPException:
        in_doubt = IN_DOUBT if self._idempotency_key else IN_DOUBT_WITHOUT_KEY
        said = {InDoubt: in_doubt, ClockAhead: NOT_COUNTED}
        return unavailable(said.get(type(error), NOTHING_STORED))


async def commands(
    request: Request,
    user_id: CurrentUser,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="A retry with the same key and content counts once."),
    ] = None,
) -> Commands:
    """Async, since FastAPI would call a class in a thread."""
    return Commands(request, user_id, idempotency_key)


Command = Annotated[Commands, Depends(commands)]


def unavailable(why: str = NOTHING_STORED) -> HTTPException:
    """503, and whether this command may have happened all the same."""
    return HTTPException(503, why, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


class Dating:
    """Tells the time that a fact is dated with.

    While a clock that was set back a little catches up, the time stands still: else an unlike could be dated before its
    like, and not count.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._latest = clock, 0.0

    def __call__(self) -> str:
        moment = self._clock()
        is_set_back_a_little = moment < self._latest <= moment + SET_BACK_SECONDS
        self._latest = self._latest if is_set_back_a_little else moment
        return format_time(datetime.fromtimestamp(self._latest, timezone.utc))


now = Dating()
