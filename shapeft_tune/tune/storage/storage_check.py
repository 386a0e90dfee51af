"""Finding out within seconds whether trials can be kept at an address, and saying what to do if not."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen
from uuid import uuid4

from shapeft_tune.errors import UserError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

ANSWER_SECONDS = 5.0
"""A server that does not say a word for so long is taken for absent; pyarrow itself waits for minutes."""
PROBE_SECONDS = 20.0
"""A storage that takes longer for one small file cannot be used."""
EXPECTED = "s3://BUCKET/PREFIX, file:///ABSOLUTE/FOLDER or another address that pyarrow knows"
ADVICE = {
    "NO_SUCH_BUCKET": "create the bucket first or correct its name",
    "ACCESS_DENIED": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a user who may write there",
    "INVALID_ACCESS_KEY": "check AWS_ACCESS_KEY_ID",
    "SIGNATURE": "check AWS_SECRET_ACCESS_KEY and the region",
    "CREDENTIALS": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SSL": "check endpoint_override; for a server without TLS add &scheme=http",
    "NETWORK_CONNECTION": "check the network and endpoint_override=HOST:PORT in the address",
    "no answer": "check the network and endpoint_override=HOST:PORT in the address",
}
"""What to do, by a word in what pyarrow says; the first that fits."""


class Unusable(Exception):
    """Why an address cannot be used, without the address."""


def check_storage(uri: str) -> None:
    """Write, read and delete a small file at an address.

    Raises:
        UserError: a wrong address, no bucket, no right, no answer.
    """
    try:
        _in_time(lambda: _probe(uri))
    except Unusable as error:
        raise UserError(f"storage {shown(uri)}: {error}") from None


def opened(uri: str) -> tuple[FileSystem, str]:
    """Return the file system at an address, and the path of the address in it.

    Raises:
        Unusable: it is no address.
        OSError: the region of a bucket had to be asked for, and there was no answer.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    try:
        system, path = FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise Unusable(f"expected {EXPECTED}; got {_first_line(error)} - correct the address") from None
    if not path.strip("/"):
        raise Unusable(f"expected {EXPECTED}; got no bucket or folder - name one")
    return system, path.rstrip("/")


def shown(uri: str) -> str:
    """Return an address for messages, without key and secret."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _probe(uri: str) -> None:
    content = uuid4().hex.encode()
    try:
        if urlsplit(uri).scheme == "s3":
            _require_server(uri)
        system, root = opened(uri)
        found = _written_and_read(system, root, content)
    except OSError as error:
        raise Unusable(f"expected a place to write to; got {_first_line(error)} - {_advice(error)}") from None
    if found != content:
        raise Unusable(
            "expected the bytes that were written; got others - check user and secret, and what lies between"
        )


def _require_server(uri: str) -> None:
    """Ask a server of S3 for anything: pyarrow would wait for minutes, and hold up the end of the process.

    Raises:
        Unusable: the address is wrong.
        OSError: no answer.
    """
    opened(uri + ("&" if "?" in uri else "?") + "region=us-east-1")  # without one it would ask for it
    try:
        urlopen(_endpoint(uri), timeout=ANSWER_SECONDS).close()
    except HTTPError:
        return  # a refusal is an answer; what we may do there is found out next
    except (URLError, TimeoutError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLCertVerificationError):  # pyarrow may be told of other certificates
            raise OSError(f"no answer from {urlsplit(_endpoint(uri)).netloc} ({reason})") from error


def _endpoint(uri: str) -> str:
    """Return where pyarrow looks for a server of S3."""
    options = parse_qs(urlsplit(uri).query)
    named = options.get("endpoint_override") or [
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "s3.amazonaws.com"
    ]
    return named[0] if "://" in named[0] else f"{options.get('scheme', ['https'])[0]}://{named[0]}"


def _written_and_read(system: FileSystem, root: str, content: bytes) -> bytes:
    path = f"{root}/.probe-{uuid4().hex}"
    if system.type_name == "local":
        # Not the folders above it: that would hide a disk that is not mounted.
        system.create_dir(root, recursive=False)
    with system.open_output_stream(path) as stream:
        stream.write(content)
    try:
        with system.open_input_stream(path) as stream:
            return bytes(stream.read())
    finally:
        system.delete_file(path)


def _in_time(act: Callable[[], None]) -> None:
    """Call a function that may hang in a library; a thread that hangs is left to end by itself."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="storage probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if thread.is_alive():
        raise Unusable(
            f"expected an answer; got none in {PROBE_SECONDS:.0f} s - check the network and "
            "endpoint_override=HOST:PORT in the address"
        )
    if failures:
        raise failures[0]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def _advice(error: Exception) -> str:
    said = str(error)
    found = next((advice for word, advice in ADVICE.items() if word in said), None)
    return found or "create the folder above it, or choose a place that can be written to"
