"""The Like service: a user likes a post, or takes it back.

Run alone: `python -m producers.likes`.
"""

from fastapi import APIRouter

from contract.facts import Identifier, PostLiked, PostUnliked
from producers.commands import Answer, Command, command_resources, publisher_health
from service.app import COMMANDS, Service, serve_alone

router = APIRouter(tags=["likes"], responses=COMMANDS)


@router.put("/posts/{post_id}/like", status_code=202, response_model_exclude_none=True)
async def like(post_id: Identifier, command: Command) -> Answer:
    """Like a post; liking twice is liking once."""
    return await command.publish(PostLiked, post_id)


@router.delete("/posts/{post_id}/like", status_code=202, response_model_exclude_none=True)
async def unlike(post_id: Identifier, command: Command) -> Answer:
    """Take a like back."""
    return await command.publish(PostUnliked, post_id)


SERVICE = Service("likes", router, command_resources, publisher_health(PostLiked.topic))


if __name__ == "__main__":
    serve_alone(SERVICE)
