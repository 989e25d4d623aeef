"""The errors that a caller may want to tell apart; each message is one line that stands alone."""


def one_line(text: str) -> str:
    """Return a text on one line: what is not printable becomes an escape, such as `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SamVideoError(Exception):
    """Base of everything that this package raises on purpose."""


class RequestError(SamVideoError, ValueError):
    """An option of the request has a value that is not accepted."""


class PromptError(SamVideoError, ValueError):
    """A click, box, mask or name of the request cannot be used."""


class VideoError(SamVideoError):
    """The input cannot be read as a video, or an output video cannot be written."""


class DeviceError(SamVideoError):
    """The GPU cannot be used, fails, or has too little memory."""


class CheckpointError(SamVideoError):
    """A checkpoint is missing, incomplete, not the published one, or does not fit the model."""


def frame_outside_error(field: str, frame_index: int, num_frames: int) -> PromptError:
    """Return the error of a prompt whose frame, which `field` names, the video does not have."""
    return PromptError(f"{field} is {frame_index}; expected a frame from 0 to {num_frames - 1}")
