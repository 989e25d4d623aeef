"""The errors that callers can tell apart; each message is one line, complete in itself."""


def one_line(text: str) -> str:
    """Return a text on one line: characters that cannot be printed become escapes like `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SamVideoError(Exception):
    """Base class of all errors that this package raises on purpose."""


class RequestError(SamVideoError, ValueError):
    """An input of the request has a value that is not accepted."""


class PromptError(SamVideoError, ValueError):
    """A click, box, mask or name of the request cannot be used."""


class VideoError(SamVideoError):
    """The input cannot be read as a video, or an output video cannot be written."""


class DeviceError(SamVideoError):
    """The GPU cannot be used, fails, or has too little memory."""


class CheckpointError(SamVideoError):
    """A checkpoint is missing, incomplete, not the published one, or does not fit the network."""


def frame_outside_error(field: str, frame_index: int, num_frames: int) -> PromptError:
    """Return the error for a prompt on a frame past the end; `field` is the input that names it."""
    return PromptError(f"{field} is {frame_index}; expected a frame from 0 to {num_frames - 1}")
