"""The facts that the three services write: one JSON object a Kafka record."""

from datetime import datetime, timezone
from typing import Annotated, ClassVar, Literal

import uuid_utils
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

IDENTIFIER_MAX = 64
IDENTIFIER = rf"[A-Za-z0-9_-]{{1,{IDENTIFIER_MAX}}}"
TIMESTAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
IMAGE_URL_MAX, CAPTION_MAX, TEXT_MAX = 2_048, 2_200, 2_200  # characters (Unicode code points)
LENGTHS = {"image_url": (0, IMAGE_URL_MAX), "caption": (0, CAPTION_MAX), "text": (1, TEXT_MAX)}
FUTURE_TOLERANCE_SECONDS = 300


def _real_moment(value: str) -> str:
    parse_time(value)
    return value


Identifier = Annotated[str, StringConstraints(pattern=f"^{IDENTIFIER}$")]
Moment = Annotated[str, StringConstraints(pattern=f"^{TIMESTAMP}$"), AfterValidator(_real_moment)]


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds, as every fact and result writes it."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The moment of a contract timestamp; ValueError where there is no such moment."""
    return datetime.fromisoformat(text.removesuffix("Z") + "+00:00")


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): unique, and ordered by the clock that made it."""
    return str(uuid_utils.uuid7())


class Fact(BaseModel):
    """What every fact carries. Unknown extra fields are allowed and kept in the archive."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    topic: ClassVar[str]

    event_id: Identifier
    event_type: str
    occurred_at: Moment
    user_id: Identifier
    post_id: Identifier

    @property
    def key(self) -> str:
        """The Kafka key: everything of one post in order, posts by their author."""
        return self.post_id


class PostCreated(Fact):
    """A user posted a picture."""

    topic: ClassVar[str] = "posts"
    event_type: Literal["post_created"] = "post_created"
    image_url: Annotated[str, StringConstraints(max_length=IMAGE_URL_MAX)]
    caption: Annotated[str, StringConstraints(max_length=CAPTION_MAX)]

    @property
    def key(self) -> str:
        return self.user_id


class PostDeleted(Fact):
    """An author took a post back, for good."""

    topic: ClassVar[str] = "posts"
    event_type: Literal["post_deleted"] = "post_deleted"

    @property
    def key(self) -> str:
        return self.user_id


class PostLiked(Fact):
    """A user likes a post from now on."""

    topic: ClassVar[str] = "likes"
    event_type: Literal["post_liked"] = "post_liked"


class PostUnliked(Fact):
    """A user took a like back."""

    topic: ClassVar[str] = "likes"
    event_type: Literal["post_unliked"] = "post_unliked"


class CommentAdded(Fact):
    """A user commented on a post."""

    topic: ClassVar[str] = "comments"
    event_type: Literal["comment_added"] = "comment_added"
    comment_id: Identifier
    text: Annotated[str, StringConstraints(min_length=1, max_length=TEXT_MAX)]


class CommentDeleted(Fact):
    """A user took a comment of theirs back, for good."""

    topic: ClassVar[str] = "comments"
    event_type: Literal["comment_deleted"] = "comment_deleted"
    comment_id: Identifier


FACT_MODELS: tuple[type[Fact], ...] = (
    PostCreated,
    PostDeleted,
    PostLiked,
    PostUnliked,
    CommentAdded,
    CommentDeleted,
)
FACT_BY_TYPE: dict[str, type[Fact]] = {model.model_fields["event_type"].default: model for model in FACT_MODELS}
FACT_TOPICS: tuple[str, ...] = ("posts", "likes", "comments")
