"""The errors of a lake, sorted by what helps: to wait, or to change something. None shows a credential.

delta-rs raises three kinds of exception for everything between "the disk is full" and "the bucket does not exist",
so the text decides.
"""

import re
from collections.abc import Iterable

from supervisor import MisconfiguredError, TransientError


class LakeUnavailable(TransientError):
    """The lake is out of reach, slow, full or throttling, or others commit at the moment: retry later."""


class LakeMoved(LakeUnavailable):
    """The lake has other marks than the commit expects: read them again."""


class LakeMisconfigured(MisconfiguredError):
    """The lake cannot be used before somebody changes something; the message names it."""


_HIDDEN = "***"
# Credentials that a server or a library may repeat in its message: query parameters and headers of signed requests.
_SIGNED = re.compile(
    r"(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|Authorization)['\"]?\s*[=:]\s*)"
    r"[^&\s'\",;)<>]+"
)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # delta-rs writes a coloured arrow for each colon
_STACK = "0: <unknown>"
_SECRET_CHARS_MIN = 4  # shorter values would hide ordinary words
_MESSAGE_CHARS_MAX = 500

# The first text that is contained decides, so a stricter one comes first.
_MISCONFIGURED = (
    ("169.254.169.254", "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"),
    ("NoSuchBucket", "the bucket does not exist"),
    ("InvalidAccessKeyId", "the store does not know the access key: check the credentials"),
    ("SignatureDoesNotMatch", "the store does not accept the secret key: check the credentials"),
    ("AccessDenied", "the credentials do not permit this: they need to list, read, write and delete"),
    ("403 Forbidden", "the credentials do not permit this: they need to list, read, write and delete"),
    ("401 Unauthorized", "the store does not accept the credentials"),
    ("URL scheme is not allowed", "the endpoint is http: set allow_http = true to permit it"),
)
_TRANSIENT = (
    ("ExpiredToken", "the credentials have expired: renew them; what is recorded waits in the file"),
    ("TokenRefreshRequired", "the credentials have expired: renew them; what is recorded waits in the file"),
    ("RequestTimeTooSkewed", "this machine's clock differs from the store's: set it"),
    ("No space left on device", "the disk is full"),
    ("Disk quota exceeded", "the disk quota is used up"),
    ("SlowDown", "the store is throttling"),
    ("Permission denied", "the folder cannot be written"),
    ("Read-only file system", "the folder cannot be written"),
)


def is_panic(error: BaseException) -> bool:
    """Whether delta-rs has panicked. Its type is not public; as it is no Exception, it would end the service."""
    return type(error).__name__ == "PanicException"


def sorted_error(error: BaseException, uri: str, secrets: Iterable[str]) -> LakeUnavailable | LakeMisconfigured:
    """The error of delta-rs as one of ours; raise it `from None`, because the original may show a credential."""
    text = hidden(str(error), secrets)
    for words, advice in _TRANSIENT:
        if words in text:
            return LakeUnavailable(f"{uri}: {advice} ({shortened(text)})")
    for words, advice in _MISCONFIGURED:
        if words in text:
            return LakeMisconfigured(f"{uri}: {advice} ({shortened(text)})")
    return LakeUnavailable(f"{uri}: {shortened(text)}")


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without these values, without signatures of requests and without passwords in addresses."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SECRET_CHARS_MIN:
            text = text.replace(secret, _HIDDEN)
    return _USER_INFO.sub(f"{_HIDDEN}@", _SIGNED.sub(rf"\1{_HIDDEN}", text))


def shortened(text: str) -> str:
    """One line of bounded length, without colours and without the stack of delta-rs."""
    line = " ".join(_COLOUR.sub("", text.partition(_STACK)[0]).replace(" ↳", ":").split())
    return line if len(line) <= _MESSAGE_CHARS_MAX else f"{line[: _MESSAGE_CHARS_MAX - 3]}..."
