"""The kinds of value a config key may have: a check converts a TOML value or raises Wrong."""

import ipaddress
import re
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import fields

from actors.settings import StoreSettings
from ops.terminal.suggestions import nearest
from supervisor.text import NAME_CHARS_MAX as ACTOR_CHARS_MAX

STORAGE_VERSION = next(field.default for field in fields(StoreSettings) if field.name == "storage_version")
TEXT_CHARS_MAX = 4096  # longer than any path, URL or name that a system accepts
INT_BITS_MAX = 1_000  # Python refuses to format numbers of more than 4,300 digits, and is slow for long ones
# Measured with DuckDB 2.0 on merges of 50,000 and 1,000,000 rows a segment: 16 MB fail, 24 MB do.
MEMORY_BYTES_MIN = 32_000_000
# Its longest actor is "NAME:stall_detector"; the numbers of its connections ("NAME:123") rise.
NAME_CHARS_MAX = ACTOR_CHARS_MAX - len(":stall_detector")
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{NAME_CHARS_MAX - 1}}}")
_TAKEN = ("tickwarden", "writer", "buffer", "merger", "clock", "poller", "exchanges", "ship")
LAKE_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
# "s3:/bucket" and "S3//bucket" are addresses with a typo rather than folders.
_ALMOST_ADDRESS = re.compile(rf"[a-z][a-z0-9+.-]*:|(?:{'|'.join(LAKE_SCHEMES)})/", re.I)
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")
_SECRET = re.compile(
    r"secret|passw|token|credential|(account|access|sas|private|api|client|master)_?key(?!_id)", re.I
)
# urlsplit accepts brackets around anything, text behind them, and ports of other digits.
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^\[\]:]*))(?::(?P<port>[0-9]{0,5}))?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class Wrong(Exception):
    """The value cannot be used; the message is what is expected."""


Check = Callable[[object], object]


class Number(Struct, frozen=True):
    """A number of `unit` from `low` to `high`, kept as float."""

    low: float
    high: float
    unit: str = "seconds"

    def __call__(self, value: object) -> float:
        right = f"a number of {self.unit} from {self.low:.12g} to {self.high:.12g}"
        # A TOML boolean is a Python int; "inf" and "nan" are TOML floats, and nan is not between any two numbers.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(right)
        if not self.low <= value <= self.high:
            raise Wrong(right)
        return float(value)


class Whole(Struct, frozen=True):
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def __call__(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise Wrong(f"a whole number from {self.low:,} to {self.high:,}")
        return value


class Choice(Struct, frozen=True):
    """One of a few words."""

    words: tuple[str, ...]

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            near = nearest(value, self.words) if isinstance(value, str) else None
            hint = f" (nearest: {near!r})" if near else ""
            raise Wrong("one of " + ", ".join(f'"{word}"' for word in self.words) + hint)
        return value


class Text(Struct, frozen=True):
    """Text that matches a pattern; `right` describes it."""

    form: str
    right: str

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or re.fullmatch(self.form, value) is None:
            raise Wrong(self.right)
        return value


def file_name(value: object) -> Path:
    """The name of a file; "~" is the home folder. Relative ones are resolved by the caller."""
    if not isinstance(value, str) or not value or "\0" in value or len(value) > TEXT_CHARS_MAX:
        raise Wrong("the name of a file, as text")
    if scheme := scheme_of(value):
        raise Wrong(f'a path of this machine, like "/srv/ticks", without {scheme}')
    if value.endswith("/"):
        raise Wrong("the name of a file, not of a folder")
    if odd := unusable_in_path(value):
        raise Wrong(f"a path without {odd}")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise Wrong(f"a path without an unknown home folder ({error})") from error


def scheme_of(path: str) -> str:
    """What makes the path an address instead, such as "s3://"; "" for a path."""
    found = _SCHEME.match(path)
    return found[0] if found else ""


def unusable_in_path(path: str) -> str:
    """The part of a path that no file of ours may have, described for a message; "" if there is none."""
    if any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Co", "Cn") for char in path):
        return "control and invisible characters"
    # Names that are not UTF-8 reach Python as lone surrogates, which neither TOML nor DuckDB can write.
    return "bytes that are not UTF-8" if any(unicodedata.category(char) == "Cs" for char in path) else ""


def read_as_pattern(path: Path) -> str:
    """The part of a path that DuckDB would read as a pattern, described for a message; "" if there is none.

    The views in the file reach its tail by a pattern, in which a backslash means a slash.
    """
    odd = [char for char in "*?[]\\" if char in str(path)]
    return f"{' '.join(odd)} anywhere in it, which DuckDB reads as part of a pattern" if odd else ""


def folder_name(value: object) -> Path | None:
    """None for "", or the name of a folder."""
    if value == "":
        return None
    if not isinstance(value, str):
        raise Wrong('the name of a folder, or ""')
    return file_name(value.rstrip("/") or value)


def memory_limit(value: object) -> str:
    """A size as DuckDB reads it, enough for what the store does."""
    match = (
        re.fullmatch(r"([1-9][0-9]{0,5}(?:\.[0-9]{1,3})?) ?([MG])(i?)B", value) if isinstance(value, str) else None
    )
    if not isinstance(value, str) or match is None:
        raise Wrong('a size like "512MB" or "2GiB"')
    unit = (1024 if match[3] else 1000) ** (2 if match[2] == "M" else 3)
    if float(match[1]) * unit < MEMORY_BYTES_MIN:
        raise Wrong(f'at least "{MEMORY_BYTES_MIN // 1_000_000}MB": merges fail with less')
    return value


def exchange_name(name: str) -> str:
    """Checks the name of a table under [exchanges]; it also names actors, routes and metrics."""
    if _NAME.fullmatch(name) and name not in _TAKEN:
        return ""
    return f"a name of letters, digits, '_', '-' and '.', {NAME_CHARS_MAX} at most, not {', '.join(_TAKEN)}"


def storage_version(value: object) -> str:
    """A DuckDB release whose file format is to be written; DuckDB itself knows the valid ones.

    Several releases share a format ("v1.2.2" writes that of v1.2.0): the first of them names it, as in files.
    """
    right = 'a DuckDB version like "v1.2.0", or "latest"'
    if not isinstance(value, str):
        raise Wrong(right)
    if value in ("latest", STORAGE_VERSION):
        return value
    import duckdb

    from actors.store.connecting import command_limits, connect, storage_of

    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            connect(Path(folder, "new.duckdb"), command_limits(), storage_version=value) as con,
        ):
            return storage_of(con) or value
    except duckdb.Error as error:
        raise Wrong(right) from error


class Url(Struct, frozen=True):
    """Scheme, host and optional port, which replace the same parts of an exchange's own addresses."""

    schemes: tuple[str, ...]

    def __call__(self, value: object) -> str:
        example = f'"{self.schemes[0]}://127.0.0.1:9443"'
        heads = " or ".join(f"{scheme}://" for scheme in self.schemes)
        right = f"{heads} with a host and optionally a port, like {example}"
        if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX or re.search(r"[\s\x00-\x1f\x7f]", value):
            raise Wrong(right)
        try:
            parts = urlsplit(value)
            usable = parts.scheme in self.schemes and parts.port != 0
        except ValueError as error:
            raise Wrong(f"{right} ({error})") from error
        host = parts.hostname or ""
        if usable and not host.isascii():
            raise Wrong(f"{heads} with a host in ASCII{_in_ascii(host)}")
        if not usable or not _is_host(parts.netloc.rpartition("@")[2]):
            raise Wrong(right)
        if parts.path not in ("", "/") or set("?#@") & set(value):
            raise Wrong(f"{right}, nothing after it: the path stays the exchange's own")
        return f"{parts.scheme}://{parts.netloc.rstrip(':')}"


def _is_host(authority: str) -> bool:
    """Whether an authority without user has a valid address or name, in ASCII."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or not authority.isascii():
        return False
    name = (match["host"] or "").removesuffix(".")
    labels = name.split(".")
    try:
        if match["ipv6"]:
            ipaddress.IPv6Address(match["ipv6"])
            return True
        if _NUMBER.fullmatch(labels[-1]):  # resolvers take it for an address, some of them in forms like 0x7f.1
            ipaddress.IPv4Address(match["host"])
            return True
    except ValueError:
        return False
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _in_ascii(host: str) -> str:
    """The xn-- form of a name with other letters, for a message; "" if it would be another name."""
    try:
        text = host.encode("idna")
        return f", like {text.decode()}" if text.decode("idna") == host else ""
    except UnicodeError:
        return ""


def listening(value: object) -> str:
    """ "" for off, or host:port of an IP address to listen on, in its usual spelling; see `is_loopback`."""
    right = '"" or an address of this machine with a port, like "127.0.0.1:8787"'
    if value == "":
        return ""
    match = _AUTHORITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or "%" in match[0] or not 0 < int(match["port"] or 0) < 65536:
        raise Wrong(right)
    try:
        if match["ipv6"]:
            host = f"[{ipaddress.IPv6Address(match['ipv6'])}]"
        else:
            host = match["host"].lower()
            host = host if host == "localhost" else str(ipaddress.IPv4Address(host))
    except ValueError as error:
        raise Wrong(right) from error
    return f"{host}:{int(match['port'])}"


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches this host:port."""
    host = urlsplit(f"//{address}").hostname or ""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def lake_uri(value: object) -> Path | str:
    """A folder (relative ones are resolved by the caller), or an address on object storage."""
    right = 'a folder, or an address like "s3://bucket/tape"'
    on_this_machine = 'a folder of this machine, like "file:///srv/tape"'
    if not isinstance(value, str) or not value or len(value) > TEXT_CHARS_MAX:
        raise Wrong(right)
    scheme, separator, rest = value.partition("://")
    if scheme == "file" and separator and not (rest.startswith("/") and rest.strip("/")):
        raise Wrong(on_this_machine)
    if not separator and (almost := _ALMOST_ADDRESS.match(value)):
        meant = almost[0][:-1].lower()
        if meant == "file":
            raise Wrong(on_this_machine)
        example = f"{meant if meant in LAKE_SCHEMES else LAKE_SCHEMES[0]}://bucket/tape"
        raise Wrong(f'an address like "{example}"; a folder of this name is written "./{value}"')
    if not separator or scheme == "file":
        folder = folder_name(rest if separator else value)
        if folder is None:
            raise Wrong(right)
        return folder
    if scheme not in LAKE_SCHEMES:
        raise Wrong(f"a folder, or one of {', '.join(f'{one}://' for one in LAKE_SCHEMES)}")
    if odd := unusable_in_path(value):
        raise Wrong(f"an address without {odd}")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise Wrong(f"{right} ({error})") from error
    if parts.password is not None or parts.query or parts.fragment or ("@" in parts.netloc and scheme[0] != "a"):
        raise Wrong(f"{right}; a password or key belongs in the environment, or in the file of lake.credentials")
    if not parts.netloc or " " in parts.netloc:
        raise Wrong(right)
    return value.rstrip("/")


def storage_options(value: object) -> Mapping[str, str]:
    """Options of an object store, as text. Secrets are refused: the configuration is shown to its readers."""
    if not isinstance(value, Mapping):
        raise Wrong('a table like { AWS_REGION = "eu-central-1" }')
    options: dict[str, str] = {}
    for name, option in value.items():
        if not _OPTION.fullmatch(name):
            raise Wrong("names of options, of letters, digits and '_', like AWS_REGION")
        if _SECRET.search(name):
            raise Wrong(
                f"options without {name}: secrets belong in the environment, or in the file of lake.credentials"
            )
        if isinstance(option, bool):
            option = str(option).lower()
        elif isinstance(option, int) and option.bit_length() <= INT_BITS_MAX:
            option = f"{option:d}"
        if not isinstance(option, str) or len(option) > TEXT_CHARS_MAX or unusable_in_path(option):
            raise Wrong(f"text as the value of {name}")
        options[name] = option
    return options


def words(value: object) -> tuple[str, ...]:
    """A list of at least one text."""
    if not isinstance(value, list) or not value:
        raise Wrong('a list like ["BTC/USDT", "ETH/USDT"]')
    return tuple(value)  # the entries are checked one by one, so that each mistake has its own place
