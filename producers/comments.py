"""The Comment service: a user comments on a post, or takes a comment of theirs back.

Run alone: `python -m producers.comments`.
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, StringConstraints

from contract.facts import TEXT_MAX, CommentAdded, CommentDeleted, Identifier
from producers.commands import Answer, Command, command_resources, publisher_health
from service.app import COMMANDS, Service, serve_alone

router = APIRouter(tags=["comments"], responses=COMMANDS)


class NewComment(BaseModel):
    """What the body of a comment holds."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=TEXT_MAX)]


@router.post("/posts/{post_id}/comments", status_code=201, response_model_exclude_none=True)
async def comment(post_id: Identifier, body: NewComment, command: Command) -> Answer:
    """Comment on a post."""
    about = (post_id, body.text)
    return await command.publish(
        CommentAdded,
        post_id,
        command.uuid("comment event", *about),
        comment_id=command.ownership.new_id(command.uuid("comment", *about), command.user_id, post_id),
        text=body.text,
    )


@router.delete("/posts/{post_id}/comments/{comment_id}", status_code=202, response_model_exclude_none=True)
async def delete_comment(post_id: Identifier, comment_id: Identifier, command: Command) -> Answer:
    """Delete a comment of one's own, for good."""
    command.refuse_strangers(comment_id, command.user_id, post_id)
    return await command.publish(CommentDeleted, post_id, comment_id=comment_id)


SERVICE = Service("comments", router, command_resources, publisher_health(CommentAdded.topic))


if __name__ == "__main__":
    serve_alone(SERVICE)
