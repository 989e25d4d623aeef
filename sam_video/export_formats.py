"""The further data files that a request asks for: `davis, coco_tracks=polygons, prores=objects`."""

from sam_video.errors import RequestError, one_line

OPTIONS: dict[str, tuple[str, ...]] = {
    "davis": (),
    "coco_tracks": ("polygons",),
    "yolo": ("parts",),
    "mot": (),
    "mots": (),
    "cvat": (),
    "label_studio": (),
    "prores": ("objects",),
    "png_alpha": ("objects",),
}
"""The formats, and the options that each accepts after `=`."""


def parse_export_formats(text: str) -> dict[str, str]:
    """Return the formats that a text names, each with its option, or with an empty text.

    Raises:
        RequestError: A format or an option is unknown, or a format is named twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, option = (piece.strip().lower() for piece in part.partition("="))
        shown = one_line(repr(part[:80]))
        if name not in OPTIONS:
            raise RequestError(f"export_formats has {shown}; expected any of {', '.join(OPTIONS)}")
        if equals and option not in OPTIONS[name]:
            accepted = " or ".join([name, *(f"{name}={known}" for known in OPTIONS[name])])
            raise RequestError(f"export_formats has {shown}; expected {accepted}")
        if name in found:
            raise RequestError(f"export_formats has {name} twice; expected it once")
        found[name] = option
    return found
