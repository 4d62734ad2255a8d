"""Decompresses messages that exchanges send as gzip, in bounded memory."""

import zlib

from actors.model.ticks import Reason
from actors.model.validation import FieldError

_GZIP = 16 + zlib.MAX_WBITS  # zlib: "+16: a gzip header and trailer"


def gunzip(message: bytes, bytes_max: int) -> bytes:
    """The content of one gzip stream; raises FieldError if it is invalid or holds more than `bytes_max`.

    At most one byte more is decompressed, so a message that would unpack to gigabytes costs no more.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        content = inflater.decompress(message, bytes_max + 1)
    except zlib.error as error:
        raise FieldError(Reason.NOT_GZIP, str(error)) from error
    if len(content) > bytes_max:
        raise FieldError(Reason.OVERSIZE, f"the message holds more than {bytes_max} bytes once decompressed")
    if not inflater.eof:
        raise FieldError(Reason.NOT_GZIP, "the compressed message is incomplete")
    if inflater.unused_data:
        raise FieldError(Reason.NOT_GZIP, "there is data after the compressed message")
    return content
