"""Requests over HTTP, with a token that no other server gets to see."""

from email.message import Message
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import IO, NoReturn, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sam_video.errors import CheckpointError

_TIMEOUT_SECONDS = 30.0  # to connect, and between any two packets
_RETRIED_STATUSES = {408, 429, 500, 502, 503, 504}


class BrokenConnectionError(Exception):
    """The transfer failed; another try may succeed."""


def ask(
    url: str, headers: dict[str, str] | None = None, *, method: str = "GET", token: str = ""
) -> HTTPResponse:
    """Return the server's answer, whatever its status.

    Args:
        url: `http` or `https`.
        headers: To be sent, also where the server redirects to.
        method: `GET`, which follows all redirections, or `HEAD`, which stays on the server: its
            last answer says what a file is that lies elsewhere.
        token: Sent to the URL's own server alone; empty for none.

    Raises:
        BrokenConnectionError: There is none.
        CheckpointError: The URL is not one.
    """
    try:
        request = Request(url, headers=headers or {}, method=method)  # noqa: S310 (the caller vouches for the scheme)
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        return cast(HTTPResponse, build_opener(_Redirects).open(request, timeout=_TIMEOUT_SECONDS))
    except HTTPError as error:
        return cast(HTTPResponse, error)  # has the same status, reason, headers and close
    except (ValueError, InvalidURL) as error:
        raise CheckpointError(f"{url} is not a URL: {error}") from error
    except (OSError, HTTPException) as error:
        raise BrokenConnectionError(getattr(error, "reason", error)) from error


def refuse(url: str, answer: str, status: int) -> NoReturn:
    """Raise the error of an answer that is not the one asked for."""
    if status in _RETRIED_STATUSES:
        raise BrokenConnectionError(answer)
    raise CheckpointError(f"{url} cannot be downloaded: {answer}")


class _Redirects(HTTPRedirectHandler):
    """Keeps the method, and on the same server also the token."""

    def redirect_request(  # noqa: PLR0917 (as its base class has it)
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> Request | None:
        """Return the next request; None makes this answer the last."""
        is_same = _server(newurl) == _server(req.full_url)
        if req.get_method() == "HEAD" and not is_same:
            return None
        new = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if new is not None:
            new.method = req.get_method()
            if is_same and req.has_header("Authorization"):
                token = req.get_header("Authorization")
                new.add_unredirected_header("Authorization", str(token))
        return new


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
