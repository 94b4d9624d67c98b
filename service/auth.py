"""Who a request is from: a JWT (HS256), whose `sub` is the user."""

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import jwt
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import TypeAdapter, ValidationError

from conf.settings import Settings
from contract.facts import Identifier
from service.limits import REFUSED, TokenBuckets, retry_after

ALGORITHM = "HS256"
AUDIENCE = "mysocialmedia"
WHY_MAX = 200
"""Characters of what PyJWT says of a token."""

_identifier: TypeAdapter[str] = TypeAdapter(Identifier)
_bearer = HTTPBearer(auto_error=False, description="A JWT; its `sub` is the user.")


def issue_token(settings: Settings, user_id: str, lifetime_seconds: float) -> str:
    """A token that lets its bearer act as the user until it expires."""
    expires = datetime.now(timezone.utc) + timedelta(seconds=lifetime_seconds)
    claims = {"sub": user_id, "aud": AUDIENCE, "exp": expires}
    return jwt.encode(claims, settings.jwt_key(), algorithm=ALGORITHM)


async def current_user(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """The user that the request's bearer token names; 401 without a good one, 429 where they ask too often.

    It waits for nothing, but were it not async, FastAPI would send each request through a thread for it.
    """
    if credentials is None:
        raise _unauthorized("send Authorization: Bearer <JWT>")
    user_id = _user_of(credentials.credentials, request.app.state.jwt_key)
    buckets: TokenBuckets = request.app.state.user_buckets
    wait = buckets.take(user_id)
    if wait:
        REFUSED.labels("user").inc()
        raise HTTPException(429, "you are too fast; try again later", headers=retry_after(wait))
    return user_id


def _user_of(token: str, key: str) -> str:
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            # When it was issued is no bound (RFC 7519, 4.1.6): an issuer's clock may be ahead.
            options={"require": ["exp", "sub"], "verify_aud": False, "verify_iat": False},
        )
        _refuse_other_audiences(claims)
        return _identifier.validate_python(claims["sub"], strict=True)
    except jwt.InvalidTokenError as error:
        # It quotes the token, be that half a surrogate or twenty kilobytes.
        why = str(error)[:WHY_MAX].encode("ascii", "backslashreplace").decode()
        raise _unauthorized(f"the token is not valid: {why}") from None
    except ValidationError:
        raise _unauthorized("the token's sub is not an identifier") from None


def _refuse_other_audiences(claims: dict[str, Any]) -> None:
    """The contract's tokens need not name an audience: who has our key made them for us, unless they say otherwise."""
    named = claims.get("aud", AUDIENCE)
    if AUDIENCE not in (named if isinstance(named, list) else [named]):
        raise jwt.InvalidAudienceError("it is for another audience")


CurrentUser = Annotated[str, Depends(current_user)]
"""Annotate a route's parameter with it to have the user's id."""


def _unauthorized(why: str) -> HTTPException:
    return HTTPException(401, why, headers={"WWW-Authenticate": "Bearer"})
