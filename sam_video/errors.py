"""The errors that a caller may want to tell apart; each message is one line that stands alone."""


class SamVideoError(Exception):
    """Base of everything that this package raises on purpose."""


class RequestError(SamVideoError, ValueError):
    """An option of the request has a value that is not accepted."""


class PromptError(SamVideoError, ValueError):
    """A click, box, mask or name of the request cannot be used."""


class VideoError(SamVideoError):
    """The input cannot be read as a video, or an output video cannot be written."""


class CheckpointError(SamVideoError):
    """A checkpoint is missing, incomplete, not the published one, or does not fit the model."""
