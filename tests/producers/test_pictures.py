"""Uploads: real pictures are cleaned and kept, everything else is refused."""

import hashlib
import json
import os
import random
import time
import zlib
from collections.abc import Callable
from errno import ENOSPC
from io import BytesIO
from pathlib import Path
from struct import pack
from unittest.mock import Mock
from urllib.parse import unquote

import pytest
from fastapi.testclient import TestClient
from one_broker import OneBroker
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from starlette import formparsers

from conf import store
from conf.settings import Settings
from producers import pictures
from producers.pictures import LONGEST_SIDE, BadPicture, clean_picture, keep_picture
from producers.posting import PICTURES_IN_HAND, PICTURES_OF_A_USER, SERVICE
from producers.simulator.pictures import paint_pictures
from service.app import build_app

By = Callable[[str], dict[str, str]]
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
PLACE = "52.5200 North"


def encoded(image_format: str, size: tuple[int, int] = (40, 20), **options: object) -> bytes:
    data = BytesIO()
    Image.new("RGB", size, (200, 30, 60)).save(data, image_format, **options)
    return data.getvalue()


def with_place() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = PLACE
    return encoded("JPEG", exif=exif)


def _text(content: bytes) -> PngInfo:
    info = PngInfo()
    info.add_text("Comment", content.decode())
    return info


def _exif(content: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = content.decode()
    return exif


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes that would unpack into very many."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def webp_that_claims(width: int, height: int) -> bytes:
    """The head of one without loss, and nothing that could be decoded."""
    chunk = b"VP8L" + pack("<IBI", 32, 0x2F, width - 1 | height - 1 << 14) + bytes(27)
    return b"RIFF" + pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg_of_scans(count: int, size: tuple[int, int] = (1_000, 1_000)) -> bytes:
    """A progressive JPEG whose last scan comes again and again: a few bytes each, and work for the whole picture."""
    data = BytesIO()
    Image.new("L", size, 128).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + scan * count + whole[-2:]


def png_with(kind: bytes, content: bytes) -> bytes:
    """A picture with a chunk of text or profile that unpacks into very much."""
    whole = encoded("PNG")
    data = b"x\0\0" + zlib.compress(content)
    chunk = pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))
    return whole[:33] + chunk + whole[33:]


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("image_format", FORMATS)
def test_each_format_is_kept_as_what_it_is(image_format: str) -> None:
    clean, extension = clean_picture(encoded(image_format))
    assert (opened(clean).format, extension) == (image_format, FORMATS[image_format])


def test_the_place_where_it_was_taken_is_not_kept() -> None:
    assert PLACE.encode() in with_place()
    clean, _ = clean_picture(with_place())
    assert PLACE.encode() not in clean
    assert not opened(clean).getexif()


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_metadata_of_other_formats_is_not_kept_either(image_format: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = PLACE
    clean, _ = clean_picture(encoded(image_format, exif=exif))
    assert PLACE.encode() not in clean


def test_a_comment_inside_the_file_is_not_kept() -> None:
    clean, _ = clean_picture(encoded("GIF", comment=PLACE.encode()))
    assert PLACE.encode() not in clean


def test_a_picture_of_a_phone_with_another_behind_it_is_a_jpeg() -> None:
    data = BytesIO()
    further = [Image.new("RGB", (20, 10))]
    Image.new("RGB", (40, 20)).save(data, "MPO", save_all=True, append_images=further)
    assert opened(data.getvalue()).format == "MPO"
    clean, extension = clean_picture(data.getvalue())
    assert (opened(clean).format, opened(clean).size, extension) == ("JPEG", (40, 20), "jpg")


TOP_LEFT = {1: (0, 0), 2: (20, 0), 3: (20, 10), 4: (0, 10), 5: (0, 0), 6: (0, 10), 7: (20, 10), 8: (20, 0)}
"""Where the quarter that was seen there is in the file, by the orientation (EXIF 2.3, tag 0x0112)."""


@pytest.mark.parametrize(("orientation", "place"), TOP_LEFT.items())
def test_however_the_camera_was_held_the_picture_stands_upright(orientation: int, place: tuple[int, int]) -> None:
    shot, data, exif = Image.new("RGB", (40, 20), "white"), BytesIO(), Image.Exif()
    shot.paste("red", (*place, place[0] + 20, place[1] + 10))
    exif[0x0112] = orientation
    shot.save(data, "JPEG", exif=exif)
    clean = opened(clean_picture(data.getvalue())[0])
    assert clean.size == ((40, 20) if orientation < 5 else (20, 40))
    red, green, _ = clean.getpixel((3, 3))  # type: ignore[misc]
    assert red > 200 > 100 > green


ODD_TAGS = {
    "a resolution in letters": (0x011A, 2, 3, b"72\0\0"),
    "a unit in letters": (0x0128, 2, 3, b"72\0\0"),
    "a place of samples that is too large": (0x0213, 4, 1, pack("<I", 70_000)),
    "a maker that is a number": (0x010F, 11, 1, pack("<f", 1.5)),
}


@pytest.mark.parametrize("odd", ODD_TAGS.values(), ids=ODD_TAGS.keys())
def test_a_tag_that_is_not_as_it_should_be_is_no_reason_to_refuse(odd: tuple[int, int, int, bytes]) -> None:
    tags = sorted([odd, (0x0112, 3, 1, pack("<I", 6))])
    entries = b"".join(pack("<HHI", *tag[:3]) + tag[3] for tag in tags)
    exif = b"Exif\0\0II*\0" + pack("<IH", 8, len(tags)) + entries + pack("<I", 0)
    clean, _ = clean_picture(encoded("JPEG", exif=exif))
    assert opened(clean).size == (20, 40)


@pytest.mark.parametrize(("image_format", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGBA")])
def test_colours_stay_what_they_were_by_the_profile(image_format: str, mode: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tmp.").replace(b"gXYZ", b"rXYZ").replace(b"tmp.", b"gXYZ")  # its red is green
    data = BytesIO()
    Image.new(mode, (8, 8), "red").save(data, image_format, icc_profile=swapped)
    clean = opened(clean_picture(data.getvalue())[0])
    assert "icc_profile" not in clean.info
    red, green, blue = clean.convert("RGB").getpixel((4, 4))  # type: ignore[misc]
    assert green > 200 > 60 > max(red, blue)


def test_a_broken_profile_is_none() -> None:
    clean = opened(clean_picture(encoded("PNG", icc_profile=b"no profile"))[0])
    assert clean.getpixel((4, 4))[:3] == (200, 30, 60)  # type: ignore[index]


def test_a_profile_of_which_a_part_is_missing_is_none() -> None:
    whole = encoded("JPEG", icc_profile=b"profile")
    first_of_two = whole.replace(b"ICC_PROFILE\0\x01\x01", b"ICC_PROFILE\0\x01\x02")
    assert first_of_two != whole
    opened(clean_picture(first_of_two)[0])


def test_grey_in_16_bits_stays_what_it_is() -> None:
    data, shades = BytesIO(), [0, 1_000, 30_000, 65_535]
    Image.frombytes("I;16", (4, 1), pack("<4H", *shades)).save(data, "PNG")
    clean = opened(clean_picture(data.getvalue())[0])
    assert [clean.getpixel((at, 0))[:3] for at in range(4)] == [(shade // 256,) * 3 for shade in shades]  # type: ignore[index]


def test_what_stands_behind_the_picture_in_the_file_is_not_kept() -> None:
    clean, _ = clean_picture(encoded("PNG") + b"<script>alert(1)</script>")
    assert b"<script>" not in clean


def test_of_an_animation_the_first_frame_is_kept() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    clean, _ = clean_picture(data.getvalue())
    assert getattr(opened(clean), "n_frames", 1) == 1


def test_a_large_picture_is_made_smaller() -> None:
    clean, _ = clean_picture(encoded("PNG", size=(4_000, 1_000)))
    assert opened(clean).size == (LONGEST_SIDE, LONGEST_SIDE // 4)


HOSTILE = {
    "nothing": b"",
    "text": b"hello",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "HTML": b"<!doctype html><img src=x>",
    "TIFF": encoded("TIFF"),
    "BMP": encoded("BMP"),
    "PDF": encoded("PDF"),
    "half a JPEG": encoded("JPEG", size=(300, 300))[:500],
    "half a PNG": encoded("PNG", size=(300, 300))[:100],
    "only a beginning": b"\x89PNG\r\n\x1a\n",
    "a bomb": png_that_claims(30_000, 30_000),
    "a small bomb": png_that_claims(9_000, 9_000),
    "a picture that is shorter than it says": png_that_claims(400, 400),
    "ten thousand scans": jpeg_of_scans(10_000),
    "a text that unpacks": png_with(b"zTXt", bytes(50_000_000)),
    "a profile that unpacks": png_with(b"iCCP", bytes(50_000_000)),
    "a frame larger than its picture": b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadPicture):
        clean_picture(data)


def test_a_webp_which_takes_more_memory_may_have_fewer_pixels() -> None:
    with pytest.raises(BadPicture, match="more than 25,000,000 pixels"):
        clean_picture(webp_that_claims(5_000, 5_001))
    with pytest.raises(BadPicture, match="broken"):
        clean_picture(webp_that_claims(5_000, 5_000))


def test_a_progressive_picture_is_a_picture() -> None:
    assert opened(clean_picture(jpeg_of_scans(20))[0]).size == (1_000, 1_000)


def test_a_picture_with_a_video_behind_it_is_a_picture() -> None:
    video = random.Random(1).randbytes(9_000_000)
    assert video.count(b"\xff\xda") > 100
    assert opened(clean_picture(encoded("JPEG") + video)[0]).format == "JPEG"


SCRIPT = b"=1;/*<svg onload=alert(1)><script>alert(1)</script>*/alert(1)//"
POLYGLOTS = {
    "a GIF that is JavaScript": encoded("GIF") + SCRIPT,
    "a JPEG with HTML in a comment": encoded("JPEG", comment=SCRIPT),
    "a PNG with HTML in a text": encoded("PNG", pnginfo=_text(SCRIPT)),
    "a WEBP with HTML in its EXIF": encoded("WEBP", exif=_exif(SCRIPT)),
}


@pytest.mark.parametrize("data", POLYGLOTS.values(), ids=POLYGLOTS.keys())
def test_of_a_picture_that_is_something_else_too_only_the_picture_is_kept(data: bytes) -> None:
    assert b"alert" in data
    clean, _ = clean_picture(data)
    assert b"alert" not in clean
    assert b"<s" not in clean


def test_the_name_is_the_hash_of_what_is_kept(tmp_path: Path) -> None:
    name = keep_picture(tmp_path, b"bytes", "png")
    assert name == f"{hashlib.sha256(b'bytes').hexdigest()}.png"
    assert keep_picture(tmp_path, b"bytes", "png") == name
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(ENOSPC, "no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        keep_picture(tmp_path, b"bytes", "png")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_at_the_start_and_nothing_else(away: Settings) -> None:
    folder = away.media_dir
    folder.mkdir()
    for name, age in {".upload-old": 3_700, ".upload-new": 10, "kept.png": 9_999}.items():
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    with TestClient(build_app([SERVICE], away)):
        assert {path.name for path in folder.iterdir()} == {".upload-new", "kept.png"}


def test_painted_pictures_differ_and_come_out_the_same_again(tmp_path: Path) -> None:
    paths = paint_pictures(tmp_path)
    assert len(set(paths)) == 12
    assert paths == paint_pictures(tmp_path)


def test_a_store_that_does_not_answer_may_be_asked_again(away: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(store, "s3", store.s3.__wrapped__)
    with TestClient(build_app([SERVICE], away.model_copy(update={"store": "s3a://social"}))) as client:
        answer = client.get(f"/media/{'0' * 64}.png")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.kafka
class TestUploads:
    def test_an_uploaded_picture_is_served_as_what_it_is(self, client: TestClient, by: By) -> None:
        files = {"image": ("../../x.html", with_place(), "text/html")}
        answer = client.post("/posts", files=files, data={"caption": "Me"}, headers=by("ada"))
        assert answer.status_code == 201
        picture = client.get(answer.json()["image_url"])
        assert picture.headers["Content-Type"] == "image/jpeg"
        assert picture.headers["X-Content-Type-Options"] == "nosniff"
        assert "immutable" in picture.headers["Cache-Control"]
        assert opened(picture.content).size == (40, 20)

    @pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
    def test_what_is_no_picture_is_refused_and_not_kept(
        self, client: TestClient, live: Settings, by: By, data: bytes
    ) -> None:
        answer = client.post("/posts", files={"image": ("a.png", data, "image/png")}, headers=by("ada"))
        assert answer.status_code == 422
        assert not live.media_dir.exists()

    def test_a_picture_over_the_limit_is_refused(self, client: TestClient, by: By) -> None:
        answer = client.post("/posts", files={"image": ("a.png", b"x" * 200_001)}, headers=by("ada"))
        assert answer.status_code == 413

    def test_a_form_far_over_the_limit_is_not_even_read(self, client: TestClient, by: By) -> None:
        answer = client.post("/posts", files={"image": ("a.png", b"x" * 400_000)}, headers=by("ada"))
        assert answer.status_code == 413

    @pytest.mark.parametrize(
        ("others", "status"), [({"ada": PICTURES_OF_A_USER}, 429), ({"grace": PICTURES_IN_HAND}, 503)]
    )
    def test_a_form_is_not_read_while_too_many_are_in_hand(
        self, client: TestClient, by: By, others: dict[str, int], status: int
    ) -> None:
        in_hand = client.app.state.pictures_in_hand  # type: ignore[attr-defined]
        headers = {**by("ada"), "Content-Type": "multipart/form-data; boundary=x"}
        in_hand.update(others)
        busy = client.post("/posts", content=b"no form at all", headers=headers)
        assert (busy.status_code, busy.headers["Retry-After"]) == (status, "1")
        in_hand.clear()
        for _ in range(PICTURES_OF_A_USER + 1):
            assert client.post("/posts", content=b"no form at all", headers=headers).status_code == 400
        assert not in_hand

    @pytest.mark.parametrize("charset", ["undefined", "punycode", '"Punycode"', "utf-8; charset=punycode", "utf-16"])
    def test_a_form_in_another_charset_is_not_read(self, client: TestClient, by: By, charset: str) -> None:
        headers = {**by("ada"), "Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
        assert client.post("/posts", content=self.caption("a" * 20_000), headers=headers).status_code == 415

    def test_a_form_in_utf_8_is_read(self, client: TestClient, by: By) -> None:
        headers = {**by("ada"), "Content-Type": "multipart/form-data; boundary=x; charset=UTF-8"}
        assert client.post("/posts", content=self.caption("hello"), headers=headers).status_code == 422

    @staticmethod
    def caption(text: str) -> bytes:
        return f'--x\r\nContent-Disposition: form-data; name="caption"\r\n\r\n{text}\r\n--x--\r\n'.encode()

    @pytest.mark.parametrize("charset", ["", "; charset=UTF-8", '; charset="utf-8"'])
    def test_a_caption_is_kept_as_it_is_and_refused_where_it_is_no_utf_8(
        self, client: TestClient, broker: OneBroker, by: By, charset: str
    ) -> None:
        headers = {**by("ada"), "Content-Type": f"multipart/form-data; boundary=x{charset}"}
        image = (
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n' + encoded("GIF") + b"\r\n"
        )
        kept, lost = f"Ã© café 🌊 {charset}".encode(), "café".encode("latin-1")

        def answer(caption: bytes) -> int:
            field = self.caption("CAPTION").replace(b"CAPTION", caption)
            return client.post("/posts", content=image + field, headers=headers).status_code

        assert (answer(kept), answer(lost)) == (201, 422)
        assert [json.loads(value).get("caption") for value in broker.values("posts")].count(kept.decode()) == 1

    def test_a_form_that_finds_no_room_may_be_sent_again(
        self, client: TestClient, by: By, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        no_room = Mock(side_effect=OSError(ENOSPC, "No space left on device"))
        monkeypatch.setattr(formparsers, "SpooledTemporaryFile", no_room)
        answer = client.post("/posts", files={"image": ("a.png", encoded("PNG"))}, headers=by("ada"))
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)

    def test_pictures_leave_room_on_their_disk_for_everything_else(
        self, client: TestClient, by: By, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pictures, "LEFT_FREE", 1 << 62)
        headers = {**by("ada"), "Content-Type": "multipart/form-data; boundary=x"}
        answer = client.post("/posts", content=b"no form at all", headers=headers)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        named = client.post("/posts", json={"image_url": "https://example.org/a.jpg"}, headers=by("ada"))
        assert named.status_code == 201

    def test_a_form_without_a_picture_is_refused(self, client: TestClient, by: By) -> None:
        files = {"other": ("a.png", encoded("PNG"))}
        assert client.post("/posts", files=files, headers=by("ada")).status_code == 422
        fields = {"image": (None, "text")}
        assert client.post("/posts", files=fields, headers=by("ada")).status_code == 422

    def test_a_form_says_each_thing_once(self, client: TestClient, by: By) -> None:
        image = ("image", ("a.png", encoded("PNG")))
        captions = [("caption", (None, "one")), ("caption", (None, "two"))]
        assert client.post("/posts", files=[image, *captions], headers=by("ada")).status_code == 422
        assert client.post("/posts", files=[image, image], headers=by("ada")).status_code == 400

    def test_a_form_with_an_endless_head_or_many_fields_is_refused(self, client: TestClient, by: By) -> None:
        files = {"image": ("a" * 150_000 + ".png", encoded("PNG"))}
        assert client.post("/posts", files=files, headers=by("ada")).status_code == 400
        fields = {f"f{number}": "x" for number in range(1_000)}
        answer = client.post("/posts", files={"image": ("a.png", encoded("PNG"))}, data=fields, headers=by("ada"))
        assert answer.status_code == 400

    @pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/x-www-form-urlencoded", ""])
    def test_a_body_must_say_what_it_is(self, client: TestClient, by: By, kind: str) -> None:
        headers = {**by("ada"), **({"Content-Type": kind} if kind else {})}
        body = b'{"image_url": "https://example.org/a.jpg"}'
        assert client.post("/posts", content=body, headers=headers).status_code == 415

    def test_a_line_break_is_one_character(self, client: TestClient, live: Settings, by: By) -> None:
        fields = {"caption": "x" * 2_190 + "\r\n" * 10}
        answer = client.post("/posts", files={"image": ("a.png", encoded("PNG"))}, data=fields, headers=by("ada"))
        assert answer.status_code == 201

    def test_a_caption_too_long_is_refused(self, client: TestClient, by: By) -> None:
        files, fields = {"image": ("a.png", encoded("PNG"))}, {"caption": "x" * 2_201}
        assert client.post("/posts", files=files, data=fields, headers=by("ada")).status_code == 422

    @pytest.mark.parametrize("name", ["..%5cauth.secret", ".upload-1.png", "x.jpg", "0" * 63 + "g.png"])
    def test_nothing_but_pictures_is_served(self, client: TestClient, live: Settings, name: str) -> None:
        live.media_dir.mkdir(parents=True)
        kept = f"{'0' * 64}.png"
        for file in (kept, unquote(name)):
            (live.media_dir / file).write_text("there, but not for everybody")
        assert client.get(f"/media/{kept}").status_code == 200
        assert client.get(f"/media/{name}").status_code == 404

    @pytest.mark.parametrize("name", ["..%2fauth.secret", "%2e%2e", "0" * 64 + ".png"])
    def test_what_is_elsewhere_or_nowhere_is_not_served(self, client: TestClient, live: Settings, name: str) -> None:
        live.media_dir.mkdir(parents=True)
        (live.data_dir / "auth.secret").write_text("not for everybody")
        assert client.get(f"/media/{name}").status_code == 404
