"""Finds, reads and checks the configuration, and reports every mistake in it at once."""

import grp
import importlib.util
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from actors.settings import ExchangeSettings, LakeSettings, PipelineSettings, StoreSettings, SupervisionSettings
from ops.config.checks import is_loopback
from ops.config.keys import DEFAULT_SYMBOLS, EXCHANGES, SECTIONS, STORE, ControlSettings, LogSettings
from ops.config.paths import lake_mistakes, place_mistakes
from ops.config.reader import Mistake, Reader, shown

FILE_BYTES_MAX = 1 << 20  # a config of thousands of symbols is far smaller; a larger file is something else


class Config(Struct, frozen=True, kw_only=True):
    """Everything an operator can set. `source` is the file it came from, None for the built-in default."""

    store: StoreSettings
    exchanges: dict[str, ExchangeSettings]
    supervision: SupervisionSettings
    control: ControlSettings
    log: LogSettings
    lake: LakeSettings | None = None
    source: Path | None = None

    def pipeline(self) -> PipelineSettings:
        """The settings of the pipeline."""
        group = grp.getgrnam(self.control.group).gr_gid if self.control.group else None
        store = replace(self.store, group=group)
        return PipelineSettings(store=store, exchanges=self.exchanges, supervision=self.supervision, lake=self.lake)


class ConfigErrors(Exception):
    """The configuration cannot be used. `mistakes` holds all mistakes; str() is one line for each."""

    def __init__(self, source: Path | None, mistakes: list[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{source or 'built-in default'}: {mistake}" for mistake in mistakes))


def find_config(explicit: Path | None) -> Path | None:
    """The file to read, None for the built-in default.

    In this order: `explicit`, $TICKWARDEN_CONFIG, ./tickwarden.toml, $XDG_CONFIG_HOME/tickwarden/config.toml. The
    first two are used even if the file does not exist, so that a wrong name is an error and does not select another
    configuration.
    """
    if explicit is not None:
        return explicit
    if named := os.environ.get("TICKWARDEN_CONFIG"):
        return Path(named)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    if not home.is_absolute():  # by the XDG specification relative ones are ignored
        home = Path("~/.config")
    try:
        home = home.expanduser()
    except RuntimeError:  # a system user without a home folder
        home = Path("/nonexistent")
    candidates = (Path("tickwarden.toml"), home / "tickwarden" / "config.toml")
    return next((path for path in candidates if path.is_file()), None)


def load_config(path: Path | None) -> Config:
    """Reads `path`, or the built-in default for None; raises ConfigErrors with all mistakes.

    Relative file names are relative to the folder of the config file, those of the built-in default to the current
    folder.
    """
    if path is None:
        default = {EXCHANGES: {name: {"symbols": list(symbols)} for name, symbols in DEFAULT_SYMBOLS.items()}}
        return _build(default, Path.cwd(), None)
    return _build(_parse(path), path.absolute().parent, path.absolute())


def config_of(text: str, place: Path) -> Config:
    """What the file `place` would mean if this TOML stood in it; raises ConfigErrors."""
    return _build(tomllib.loads(text), place.absolute().parent, place.absolute())


def _parse(path: Path) -> Mapping[str, object]:
    def fail(found: str, right: str) -> ConfigErrors:
        return ConfigErrors(path, [Mistake("", found, right)])

    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except IsADirectoryError as error:
        raise fail("a folder", f"a TOML file, like {path / 'tickwarden.toml'}") from error
    except PermissionError as error:
        raise fail("a file that cannot be read", f"one that this user ({os.geteuid()}) may read") from error
    except OSError as error:
        found = f"nothing readable ({error.strerror})"
        raise fail(found, "a TOML file; `tickwarden init PATH` writes one") from error
    if len(data) > FILE_BYTES_MAX:
        raise fail(f"more than {FILE_BYTES_MAX:,} bytes", "a TOML file")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise fail("UTF-16 (by its byte order mark)", "the same text saved as UTF-8")
    try:
        # Some editors put a byte order mark before UTF-8, which is harmless.
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise fail(f"bytes that are not UTF-8 (line {line})", "a TOML file in UTF-8") from error
    except ValueError as error:  # TOMLDecodeError, and Python's error for a number with 4,300 digits
        problem = f"{error}{_line_text(data, str(error))}"
        raise fail("", f"not valid TOML (see https://toml.io): {problem}") from error
    except RecursionError as error:
        raise fail("brackets nested too deep", "a TOML file") from error


def _line_text(data: bytes, message: str) -> str:
    """The line named in tomllib's message, to show the mistake."""
    match = re.search(r"at line (\d+)", message)
    lines = data.decode("utf-8", "replace").splitlines()
    if match is None or int(match[1]) > len(lines):
        return ""
    return f": {shown(lines[int(match[1]) - 1].strip())}"


def _build(document: Mapping[str, object], base: Path, source: Path | None) -> Config:
    reader = Reader(base)
    known = (*SECTIONS, EXCHANGES)
    for name in document:
        if name not in known:
            reader.unknown(name, known, name)
    values = {
        section: reader.keys(reader.table(document.get(section, {}), section), keys, section)
        for section, (_, keys) in SECTIONS.items()
    }
    supervision = reader.supervision(values["supervision"], SupervisionSettings(), "supervision")
    exchanges = _exchanges(reader, document, supervision)
    store = StoreSettings(**{"path": base / str(STORE["path"].default), **values["store"]})
    control = _control(reader, values["control"], store.path)
    lake = _lake(reader, document, values["lake"])
    reader.mistakes.extend(place_mistakes(store, control.socket, lake))
    if lake is not None:
        reader.mistakes.extend(lake_mistakes(lake))
    if reader.mistakes:
        raise ConfigErrors(source, reader.mistakes)
    log = LogSettings(**values["log"])
    return Config(
        store=store,
        exchanges=exchanges,
        supervision=supervision,
        control=control,
        log=log,
        lake=lake,
        source=source,
    )


def _exchanges(
    reader: Reader, document: Mapping[str, object], supervision: SupervisionSettings
) -> dict[str, ExchangeSettings]:
    if not document.get(EXCHANGES, {}):
        # Recording markets that nobody chose would fill the disk unexpectedly.
        reader.wrong(EXCHANGES, "none", '[exchanges.binance] with symbols = ["BTC/USDT"], and so on')
        return {}
    exchanges: dict[str, ExchangeSettings] = {}
    for name, value in reader.table(document[EXCHANGES], EXCHANGES).items():
        exchange = reader.exchange(name, value, supervision)
        if exchange is not None:
            exchanges[name] = exchange
    return exchanges


def _lake(reader: Reader, document: Mapping[str, object], values: dict[str, Any]) -> LakeSettings | None:
    """None without a lake, or with a mistake in it."""
    section = document.get("lake")
    if not isinstance(section, Mapping) or not section.keys() - {"every_s"}:
        return None
    if "uri" not in section:
        reader.wrong("lake.uri", "nothing", 'a folder, or an address like "s3://bucket/tape"')
    if "recorder" not in section:
        right = 'a name for this recorder like "tokyo-1", which no other recorder of the lake has'
        reader.wrong("lake.recorder", "nothing", right)
    if importlib.util.find_spec("deltalake") is None:
        reader.wrong("lake", "no package deltalake", "it to be installed: pip install tickwarden[lake]")
    if not {"uri", "recorder"} <= values.keys():
        return None
    return LakeSettings(**{**values, "uri": str(values["uri"])})


def _control(reader: Reader, values: dict[str, Any], store: Path) -> ControlSettings:
    control = ControlSettings(**{"socket": store.with_name(store.name + ".sock"), **values})
    if control.group:
        try:
            grp.getgrnam(control.group)
        except KeyError:
            reader.wrong("control.group", shown(control.group), "a group of this system")
    if control.http and not control.token and not is_loopback(control.http):
        right = 'a loopback address like "127.0.0.1:8787", or a control.token that others must know'
        reader.wrong("control.http", shown(control.http), right)
    return control
