"""Recognise files that are not videos by their first bytes, for error messages."""

from sam_video.video.source_file import SourceFile

SIGNATURES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF-", "a PDF document"),
    (b"ID3", "an audio file"),
    (b"fLaC", "an audio file"),
    (b"\x7fELF", "a program"),
    (b"#EXTM3U", "a playlist, which names other files"),
    (b"ffconcat", "a playlist, which names other files"),
    (b"<!DOCTYPE html", "an HTML page"),
    (b"<html", "an HTML page"),
)
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
HEAD_BYTES = 4096


def describe_other(file: SourceFile) -> str | None:
    """Return the kind of a file, such as "a zip archive", or None if it may be a video.

    This check comes first, because FFmpeg would find pictures in a zip archive and follow a
    playlist to other files.
    """
    head = file.read_head(HEAD_BYTES)
    if not head:
        return "an empty file (0 bytes)"
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and b"avif" not in head[:64]:
        return "a HEIF image, which cannot be decoded here"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, name in SIGNATURES:
        if start[: len(signature)].lower() == signature.lower():
            return name
    return "a text file" if _is_text(head) else None


def describe_unreadable(file: SourceFile) -> str:
    """Return the kind of a possible video that FFmpeg cannot open."""
    if file.read_head(HEAD_BYTES)[4:8] == b"ftyp":
        return "an MP4 file whose index (moov) is missing or damaged"
    return "of no known video or image format"


def _is_text(head: bytes) -> bool:
    if head.startswith(b"YUV4MPEG2"):  # a text header, then raw pixels that may look like text
        return False
    if any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    try:
        head[: HEAD_BYTES - 4].decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True
