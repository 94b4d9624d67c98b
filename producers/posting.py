"""The Posting service: a user posts a picture, or takes a post of theirs back; it serves the pictures too.

Run alone: `python -m producers.posting`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, StringConstraints, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from conf.settings import Settings
from conf.store import MEDIA_PATH, Object, media
from contract.facts import CAPTION_MAX, IMAGE_URL_MAX, Identifier, PostCreated, PostDeleted
from producers.commands import Answer, Command, command_resources, publisher_health, unavailable
from producers.pictures import (
    CONTENT_TYPES,
    NAME,
    BadPicture,
    clean_picture,
    keep_picture,
    remove_unfinished,
    require_room,
)
from service.app import COMMANDS, Service, refusals, serve_alone
from service.limits import retry_after, tallied

log = structlog.get_logger()
router = APIRouter(tags=["posts"], responses=COMMANDS)
Caption = Annotated[str, StringConstraints(max_length=CAPTION_MAX)]
_NO_PICTURE = "there is no such picture"
_NOT_READ = "pictures cannot be read at the moment; try again"
_FOR_EVER = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}

# Two at once: each may take 650 MiB and all of a core for some seconds.
PICTURES_AT_ONCE = 2
PICTURES_IN_HAND = 32
"""Those, and the ones that wait for them or are still arriving, on disk; more are told to come back."""
PICTURES_OF_A_USER = 2
"""Of them, so that nobody keeps all others out."""


class NewPost(BaseModel):
    """A post whose picture is somewhere already: on the web, or here under /media/."""

    image_url: Annotated[
        str,
        StringConstraints(max_length=IMAGE_URL_MAX, pattern=rf"^(https?://[^\s/]+(/\S*)?|{MEDIA_PATH}{NAME.pattern})$"),
    ]
    caption: Caption = ""


class NewPicture(BaseModel):
    """The text beside an uploaded picture."""

    caption: Caption = ""


_UNKNOWN_KIND = refusals(_415="neither a form nor JSON")
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": NewPost.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        "caption": NewPicture.model_json_schema()["properties"]["caption"],
                    },
                }
            },
        },
    }
}


@router.post("/posts", status_code=201, response_model_exclude_none=True, openapi_extra=_BODY, responses=_UNKNOWN_KIND)
async def create_post(request: Request, command: Command) -> Answer:
    """Post a picture: upload it (multipart `image`, `caption`) or name it (JSON `image_url`, `caption`)."""
    read, options = parse_options_header(request.headers.get("content-type", ""))
    kind = read.decode("latin-1")
    # Of a form Starlette would read any charset that Python has, some of which take hours for a megabyte.
    if kind not in _WAYS or options.get(b"charset", b"utf-8").lower() != b"utf-8":
        raise HTTPException(415, f"send {' or '.join(_WAYS)}, in UTF-8")
    command.refuse_in_vain(PostCreated.topic)
    image_url, caption = await _WAYS[kind](request, command.user_id)
    content = (image_url, caption)
    return await command.publish(
        PostCreated,
        command.ownership.new_id(command.uuid("post", *content), command.user_id),
        command.uuid("post event", *content),
        image_url=image_url,
        caption=caption,
    )


@router.delete("/posts/{post_id}", status_code=202, response_model_exclude_none=True)
async def delete_post(post_id: Identifier, command: Command) -> Answer:
    """Delete a post of one's own, for good."""
    command.refuse_strangers(post_id, command.user_id)
    return await command.publish(PostDeleted, post_id)


@router.get("/media/{name}", response_class=FileResponse, responses=refusals(_404=_NO_PICTURE))
async def picture(name: str, request: Request) -> Response:
    """A picture by its content hash; it never changes."""
    settings: Settings = request.app.state.settings
    folder, known = media(settings), NAME.fullmatch(name)
    if not known:
        raise HTTPException(404, _NO_PICTURE)
    kind = CONTENT_TYPES[known[1]]
    if isinstance(folder, Object):
        # Not in the threads of commands, which a store that does not answer would keep from them.
        return await run_in_threadpool(_passed_on, folder / name, kind)
    if not (folder / name).is_file():
        raise HTTPException(404, _NO_PICTURE)
    return FileResponse(folder / name, media_type=kind, headers=_FOR_EVER)


def _passed_on(kept: Object, kind: str) -> Response:
    """From the store, a piece at a time: those who are slow keep little in memory."""
    try:
        headers = {**_FOR_EVER, "Content-Length": str(kept.size), "ETag": f'"{kept.name}"'}
    except FileNotFoundError:
        raise HTTPException(404, _NO_PICTURE) from None
    except OSError as error:
        log.warning("a picture could not be read", reason=str(error))
        raise unavailable(_NOT_READ) from error
    return StreamingResponse(kept.pieces(), media_type=kind, headers=headers)


async def _named(request: Request, _: str) -> tuple[str, str]:
    try:
        post = NewPost.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(_details(error)) from None
    return post.image_url, post.caption


async def _uploaded(request: Request, user_id: str) -> tuple[str, str]:
    with _in_hand(request.app.state.pictures_in_hand, user_id):
        with _room():
            await asyncio.to_thread(require_room, media(request.app.state.settings))
        return await _picture_of_form(request)


@contextmanager
def _in_hand(pictures: Counter[str], user_id: str) -> Iterator[None]:
    """A place among the pictures in hand, taken before any of it is read; 429 or 503 where there is none."""
    if pictures[user_id] >= PICTURES_OF_A_USER:
        raise HTTPException(429, "too many pictures of yours at once; try again later", headers=retry_after(1))
    if pictures.total() >= PICTURES_IN_HAND:
        raise HTTPException(503, "too many pictures at once; try again later", headers=retry_after(1))
    with tallied(pictures, user_id):
        yield


@contextmanager
def _room() -> Iterator[None]:
    """503 where a disk is full: that of the pictures, or of temporary files."""
    try:
        yield
    except OSError as error:
        log.warning("a picture was refused", reason=str(error))
        raise unavailable() from error


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    # What is not UTF-8 Starlette would read as Latin-1 without a word. As that, all is as it came, for us to read.
    kind = (b"content-type", request.headers["content-type"].encode("latin-1") + b"; charset=latin-1")
    headers = [kind, *((name, value) for name, value in request.scope["headers"] if name != b"content-type")]
    with _room():
        form = await Request({**request.scope, "headers": headers}, request.receive).form(max_files=1, max_fields=8)
    try:
        yield form
    finally:
        await form.close()


async def _picture_of_form(request: Request) -> tuple[str, str]:
    settings: Settings = request.app.state.settings
    async with _form(request) as form:
        image = form.get("image")
        captions = [_text(one) if isinstance(one, str) else one for one in form.getlist("caption")]
        if len(captions) > 1:
            raise _invalid("caption", "send one caption")
        if not isinstance(image, UploadFile):
            raise _invalid("image", "send the picture as a file named image")
        try:
            text = NewPicture.model_validate({"caption": captions[0] if captions else ""}).caption
        except ValidationError as error:
            raise RequestValidationError(_details(error)) from None
        # Those that wait are on disk, not in memory.
        async with request.app.state.picture_slots:
            data = await _read(image, settings.image_max_bytes)
            return await asyncio.to_thread(_kept, settings, data), text


def _text(field: str) -> str:
    try:
        # A form writes a line break as two characters, which the page has counted as one.
        return field.encode("latin-1").decode().replace("\r\n", "\n")
    except UnicodeError:
        raise _invalid("caption", "send it in UTF-8") from None


async def _read(image: UploadFile, limit: int) -> bytes:
    data = await image.read(limit + 1)
    if len(data) > limit:
        raise HTTPException(413, f"the image is larger than {limit:,} bytes")
    return data


def _kept(settings: Settings, data: bytes) -> str:
    try:
        clean, extension = clean_picture(data)
    except BadPicture as error:
        raise _invalid("image", str(error)) from None
    with _room():
        return MEDIA_PATH + keep_picture(media(settings), clean, extension)


_WAYS = {"multipart/form-data": _uploaded, "application/json": _named}


def _details(error: ValidationError) -> list[Any]:
    parts = error.errors(include_url=False, include_input=False, include_context=False)
    return [{**part, "loc": ("body", *part["loc"])} for part in parts]


def _invalid(field: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": message}])


@asynccontextmanager
async def _resources(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    app.state.picture_slots = asyncio.Semaphore(PICTURES_AT_ONCE)
    app.state.pictures_in_hand = Counter()
    await asyncio.to_thread(remove_unfinished, media(settings))
    async with command_resources(app, settings):
        yield


SERVICE = Service("posting", router, _resources, publisher_health(PostCreated.topic))


if __name__ == "__main__":
    serve_alone(SERVICE)
