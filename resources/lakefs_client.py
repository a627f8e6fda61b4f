"""One lakeFS server: where it is, the keys to it, which failures pass by themselves, and what people read of others."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from llm_assets.errors import UserError
from resources.config import StoreConfig

if TYPE_CHECKING:
    from lakefs import Client

P = ParamSpec("P")
R = TypeVar("R")

ENDPOINT = ("LAKEFS_ENDPOINT", "LAKECTL_SERVER_ENDPOINT_URL")
KEY_ID = ("LAKEFS_ACCESS_KEY_ID", "LAKECTL_CREDENTIALS_ACCESS_KEY_ID")
SECRET = ("LAKEFS_SECRET_ACCESS_KEY", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY")
LOCAL_SERVER = Path("lakefs") / "server.json"  # in the state folder: the server `up` has started, with its keys
PASSING = {423, 429, 502, 503, 504}  # 423 is what servers before 1.0 said where later ones say 429
TRIES = 9
FIRST_DELAY, LONGEST_DELAY = 0.25, 8.0  # seconds; about 15 in all, on average
TIMEOUT = (10.0, 300.0)  # seconds to connect, and between two bytes: a large merge takes minutes
GONE = (404, 410)  # 410: the server's garbage collection has removed the object


class LakeFSError(UserError):
    """What lakeFS refused, or why it could not be asked. status: of HTTP; 0 when no answer came."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Access:
    """A server and the keys to it; the keys are in no representation, log, error or metadata."""

    endpoint: str
    key_id: str = field(repr=False)
    secret: str = field(repr=False)


def endpoint_of(config: StoreConfig) -> str:
    """The server the environment or the recipe names; empty when neither does."""
    return (_variable(ENDPOINT) or config.endpoint).rstrip("/")


def find_access(config: StoreConfig, home: Path) -> Access:
    """The server and keys that environment and recipe name, or of the local server that runs for `home`.

    Raises UserError that says what to set.
    """
    endpoint = endpoint_of(config)
    if not endpoint:
        try:
            return Access(**json.loads((home / LOCAL_SERVER).read_text(encoding="utf-8"))["access"])
        except FileNotFoundError:
            raise UserError(
                f"store: lakefs has no server: set {ENDPOINT[0]} (or store.endpoint in the recipe) to one, or let "
                "`llm-assets up` start one on this machine"
            ) from None
    key_id, secret = _variable(KEY_ID), _variable(SECRET)
    if not key_id or not secret:
        missing = " and ".join(name for name, value in ((KEY_ID[0], key_id), (SECRET[0], secret)) if not value)
        raise UserError(f"lakeFS at {endpoint} needs keys: set {missing} in the environment")
    return Access(endpoint, key_id, secret)


def connect(access: Access) -> Client:
    """The vendor's client: one a process, for its connections do not outlive a fork."""
    return _connect(access, os.getpid())


@lru_cache(maxsize=8)
def _connect(access: Access, pid: int) -> Client:
    try:
        from lakefs import Client
    except ImportError:
        raise UserError("store: lakefs needs the package lakefs: pip install 'llm-assets[lakefs]'") from None
    from urllib3 import Retry, Timeout

    client = Client(host=access.endpoint, username=access.key_id, password=access.secret)
    # `call` alone decides what is tried again; the upload of the vendor's writer takes its timeout from here.
    client.sdk_client.objects_api.api_client.rest_client.pool_manager.connection_pool_kw.update(
        retries=Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5),
        timeout=Timeout(connect=TIMEOUT[0], read=TIMEOUT[1]),
        blocksize=2**20,
    )
    return client


def call(access: Access, what: str, operation: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
    """The result of `operation`, tried again with jittered back-off while the server is busy or away.

    Every operation here may be done twice. What a server refuses for good (409, 412, …) is never tried again. Raises
    LakeFSError; `what` says what was attempted.
    """
    return attempt(access, what, TRIES, operation, *arguments, **keywords)


def attempt(
    access: Access, what: str, tries: int, operation: Callable[P, R], *arguments: P.args, **keywords: P.kwargs
) -> R:
    """`call` with a number of tries."""
    from lakefs.exceptions import ServerException
    from lakefs_sdk.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    for number in range(tries):
        try:
            return operation(*arguments, **keywords)
        except (ApiException, ServerException) as error:
            failure = _refusal(access, what, error)
            if failure.status not in PASSING:
                raise failure from None
        except HTTPError as error:
            failure = LakeFSError(f"lakeFS at {access.endpoint} does not answer ({_reason(error)}): {what} failed", 0)
        except ValueError as error:
            raise LakeFSError(
                f"what answers at {access.endpoint} does not speak as lakeFS does ({type(error).__name__}): {what} "
                f"failed. Look at {ENDPOINT[0]}.",
                0,
            ) from None
        if number + 1 < tries:
            time.sleep(random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2**number)))
    raise failure from None


def pages(access: Access, what: str, listing: Callable[..., Any], *arguments: Any, **keywords: Any) -> Iterator[Any]:
    """Every result of a listing, page by page."""
    after = ""
    while True:
        page = call(access, what, listing, *arguments, after=after, amount=1000, _request_timeout=TIMEOUT, **keywords)
        yield from page.results
        if not page.pagination.has_more:
            return
        after = page.pagination.next_offset


def _refusal(access: Access, what: str, error: Any) -> LakeFSError:
    """What a refusal of the server means, for people. Both layers of the vendor's client have their own exception."""
    status = int(getattr(error, "status_code", None) or getattr(error, "status", None) or 0)
    said = _said(error)
    if status == 401:
        text = f"lakeFS at {access.endpoint} does not know these keys: set {KEY_ID[0]} and {SECRET[0]}"
    elif status == 403:
        text = f"the keys are not allowed this on lakeFS at {access.endpoint}: {what} ({said})"
    elif status == 412:
        text = f"a hook of lakeFS refused this: {what}. It said: {said}"
    elif status == 0:  # TLS
        text = f"lakeFS at {access.endpoint} cannot be reached: {said}"
    else:
        text = f"lakeFS at {access.endpoint} answered {status} to this: {what} ({said})"
    return LakeFSError(text, status)


def _said(error: Any) -> str:
    """The message in a refusal's body, whichever form the vendor's exception keeps it in."""
    body = error.body
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            body = {}
    return str((body or {}).get("message") or error.reason or "no reason given")


def _reason(error: Exception) -> str:
    """The innermost cause of a failed connection, in a few words."""
    cause: Any = getattr(error, "reason", None) or error
    text = str(cause).rpartition(": ")[2] or type(cause).__name__
    return text if len(text) < 200 else type(cause).__name__


def _variable(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
