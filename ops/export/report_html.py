"""Renders the report as one HTML file that loads nothing: no script, no font, no image from elsewhere.

Everything that came from an exchange (symbols, reasons, names) is escaped where it is inserted; the
Content-Security-Policy of the page forbids every request and every script besides.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ops.export.svg import bars, line_class, lines, shown, strip

Row = Mapping[str, Any]

STATES = {
    "verified": "verified: ids, two feeds or the history show that nothing is missing",
    "repaired": "repaired: missing at first, then returned by the history",
    "unverified": "not verified: nothing known to be missing, nothing proves it",
    "unknown": "unknown: something may be missing",
    "lost": "lost",
}
VERDICTS = {
    "verified": "verified",
    "clean": "clean, not verified",
    "unknown": "partly unknown",
    "lost": "loss",
}

UNKNOWN = "\u2013"

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--paper:#fff;--rule:#d1d9e0;--verified:#0072b2;
--repaired:#56b4e9;--unverified:#b8bfc6;--unknown:#e69f00;--lost:#c8350a;--h0:#0072b2;--h1:#d55e00;--h2:#009e73;
--h3:#b0457f;--h4:#8a6d00;--h5:#4b5563}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--paper:#0d1117;--rule:#30363d;
--verified:#4aa3df;--repaired:#9bd3f5;--unverified:#5b6570;--unknown:#f0b429;--lost:#ff7a50;--h0:#58a6ff;--h1:#ff9b5e;
--h2:#3fcf9f;--h3:#e58abf;--h4:#e3c34a;--h5:#b6c2cf}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;font:15px/1.45 system-ui,sans-serif;color:var(--ink);
background:var(--paper);overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1rem 0 .25rem}
p{max-width:50rem}.soft,figcaption,.ends{color:var(--soft);font-size:.85rem}
.wide{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.88rem}
th,td{padding:.25rem .6rem;text-align:left;border-bottom:1px solid var(--rule);vertical-align:top;
overflow-wrap:normal}td{max-width:13rem;overflow-wrap:break-word}
td.long{min-width:12rem;overflow-wrap:anywhere}
th{font-weight:600}.n{text-align:right}td.n{white-space:nowrap}
dl.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1rem 0}
dl.facts div{border:1px solid var(--rule);border-radius:.4rem;padding:.5rem .75rem}
dl.facts dt{color:var(--soft);font-size:.85rem}dl.facts dd{margin:0;font-size:1.25rem}
figure{margin:.5rem 0 1rem}svg{display:block;width:100%;background:transparent}
figure>svg{border-bottom:1px solid var(--rule)}
.ends{display:flex;justify-content:space-between;gap:1rem}
.line{fill:none;stroke-width:1.6;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.dashed{stroke-dasharray:5 3}.bar{fill:var(--h0)}
.hue0{stroke:var(--h0)}.hue1{stroke:var(--h1)}.hue2{stroke:var(--h2)}.hue3{stroke:var(--h3)}.hue4{stroke:var(--h4)}
.hue5{stroke:var(--h5)}
.verified{fill:var(--verified)}.repaired{fill:var(--repaired)}.unverified{fill:var(--unverified)}
.unknown{fill:var(--unknown)}.lost{fill:var(--lost)}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;padding:0;margin:.5rem 0;font-size:.85rem}
.key svg{display:inline-block;width:1.4rem;height:.7rem;margin-right:.35rem}
.strips{display:grid;grid-template-columns:minmax(7rem,14rem) 1fr;gap:.2rem .75rem;align-items:center;
font-size:.85rem}
.strips svg{background:color-mix(in srgb,var(--rule) 35%,transparent)}
@media print{body{max-width:none;padding:0;font-size:11px}table{font-size:8px}th,td{padding:.15rem .3rem}
h2{break-after:avoid}figure,tr{break-inside:avoid}
.wide{overflow:visible}svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def page(report: Row) -> str:
    """The whole document."""
    points = _points(report)
    body = "".join(
        (
            _summary(report),
            _markets(report),
            _coverage(report, points),
            _rates(report, points),
            _prices(report, points),
            _lags(report),
            _gaps(report),
            _restarts(report),
        )
    )
    title = shown(f"Tickwarden: {report['file']}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline';"
        " base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _points(report: Row) -> int:
    """How many points or pieces the time axis has."""
    ends = [piece["to"] for market in report["markets"] for piece in market["timeline"]]
    ends += [int(points[-1][0]) + 1 for points in report["ticks_per_minute"].values()]
    return max(ends, default=1)


# -- parts --------------------------------------------------------------------------------------------


def _summary(report: Row) -> str:
    totals = report["totals"]
    verdicts = totals["verdicts"]
    facts = [
        ("expected by ids", number(totals["expected"]) if totals["markets_with_ids"] else UNKNOWN),
        ("received", number(totals["received"])),
        ("repaired", number(totals["repaired"])),
        ("lost", number(totals["lost"])),
        ("unverifiable", number(totals["unverifiable"])),
        ("loss per million", _loss(totals["loss_per_million"])),
        ("markets verified", f"{number(verdicts['verified'])} of {number(totals['markets'])}"),
        ("clean, not verified", number(verdicts["clean"])),
    ]
    cards = "".join(f"<div><dt>{shown(name)}</dt><dd>{value}</dd></div>" for name, value in facts)
    return (
        f"<h1>{shown(report['file'])}</h1>"
        f"<p>From {when(report['from'])} to {when(report['to'])}, by the exchanges' times.</p>"
        f'<dl class="facts">{cards}</dl>'
        '<p class="soft">Expected, and loss per million, count the markets whose exchange numbers its trades'
        f" without holes ({number(totals['markets_with_ids'])} of {number(totals['markets'])}): there the ids in"
        " the file show every trade that is missing. Elsewhere two feeds or the exchange's history can verify a"
        " part; trades outside of such parts are unverifiable: nothing is known to be missing, and nothing proves"
        " it.</p>"
    )


def _markets(report: Row) -> str:
    rows = [
        (
            m["exchange"],
            m["symbol"],
            VERDICTS[m["verdict"]],
            number(m["expected"]),
            number(m["received"]),
            number(m["repaired"]),
            number(m["lost"]),
            number(m["unverifiable"]),
            _loss(m["loss_per_million"]),
            _share(m["verified_share"]),
            number(m["gaps"]),
        )
        for m in report["markets"]
    ]
    heads = ("exchange", "symbol", "record", "expected", "received", "repaired", "lost", "unverifiable",
             "loss per million", "time verified", "gaps")  # fmt: skip
    left = report["markets_left_out"]
    note = (
        f'<p class="soft">{number(left)} markets with less loss are not listed; the totals count them.</p>'
        if left
        else ""
    )
    return "<h2>Markets</h2>" + _table(heads, rows, texts=3) + note


def _coverage(report: Row, points: int) -> str:
    key = "".join(f"<li>{_swatch(state)}{shown(text)}</li>" for state, text in STATES.items())
    strips = "".join(
        f"<div>{shown(m['exchange'])} {shown(m['symbol'])}</div>"
        + strip([(p["from"], p["to"], p["state"]) for p in m["timeline"]], points, _said(m))
        for m in report["markets"]
    )
    return (
        f'<h2>Coverage</h2><ul class="key">{key}</ul><div class="strips">{strips}</div>{_ends(report)}'
        '<p class="soft">Each piece has the colour of the worst that lies in it.</p>'
    )


def _said(market: Row) -> str:
    seconds = market["seconds"]
    parts = [f"{_duration(seconds[state])} {state}" for state in STATES if seconds[state]]
    return f"{market['exchange']} {market['symbol']}: {', '.join(parts) or 'not recorded'}"


def _rates(report: Row, points: int) -> str:
    series = report["ticks_per_minute"]
    if not series:
        return ""
    high = max(value for one in series.values() for _, value in one)
    return (
        f"<h2>Ticks per minute</h2><figure>{_key(series)}<figcaption>up to {number(round(high))}</figcaption>"
        + lines(series, points, "Ticks per minute, by exchange", fill=0)
        + f"{_ends(report)}</figure>"
    )


def _prices(report: Row, points: int) -> str:
    parts = []
    for one in report["prices"]:
        values = [value for series in one["last"].values() for _, value in series]
        spread = {"spread": one["spread_bps"]}
        widest = max((value for _, value in one["spread_bps"]), default=0.0)
        parts.append(
            f"<h3>{shown(one['symbol'])}</h3><figure>{_key(one['last'])}"
            f"<figcaption>price, {_plain(min(values))} to {_plain(max(values))}</figcaption>"
            + lines(one["last"], points, f"Price of {one['symbol']}, by exchange")
            + f"{_ends(report)}</figure><figure><figcaption>spread across exchanges, up to {_plain(widest)} bp"
            " (last prices of the same piece of time)</figcaption>"
            + lines(spread, points, f"Spread of {one['symbol']} across exchanges", fill=0)
            + "</figure>"
        )
    return "<h2>Price and spread across exchanges</h2>" + "".join(parts) if parts else ""


def _lags(report: Row) -> str:
    rows = [
        (
            name,
            number(one["samples"]),
            *(_plain(one[f"p{part}_ms"]) for part in (50, 90, 99)),
            number(one["negative"]),
        )
        for name, one in report["lags"].items()
    ]
    if not rows:
        return ""
    parts = []
    for name, one in report["lags"].items():
        if one["bins"]:
            counts = [count for _, count in one["bins"]]
            low, high = (_plain(one["bins"][at][0]) for at in (0, -1))
            ends = f'<div class="ends"><span>{low} ms</span><span>{high} ms</span></div>'
            caption = f"<figcaption>{shown(name)}</figcaption>"
            parts.append(f"<figure>{caption}{bars(counts, f'Lag of {name}')}{ends}</figure>")
    heads = ("exchange", "trades", "median, ms", "90 %, ms", "99 %, ms", "negative")
    return (
        '<h2>Lag</h2><p class="soft">Time of receipt minus the exchange\'s time of the trade; the difference of the'
        " clocks is part of it. Each bar is wider than the one before by the same factor.</p>"
        + _table(heads, rows, texts=1)
        + "".join(parts)
    )


def _gaps(report: Row) -> str:
    heads = ("exchange", "reason", "status", "gaps", "missing", "recovered", "of unknown size")
    rows = [
        (
            g["exchange"],
            g["reason"],
            g["status"],
            *(number(g[k]) for k in ("gaps", "missing", "recovered", "uncounted")),
        )
        for g in report["gaps"]
    ]
    listed = [
        (
            *(g[key] for key in ("exchange", "symbol", "reason", "status")),
            *(when(g[key], markup=False) for key in ("from", "to")),
            *(number(g[key]) for key in ("missing", "recovered")),
        )
        for g in report["open_and_lost"]
    ]
    text = "<h2>Gaps</h2>" + (_table(heads, rows, texts=3) if rows else "<p>None.</p>")
    if listed:
        names = ("exchange", "symbol", "reason", "status", "from", "to", "missing", "recovered")
        text += f"<h3>Not filled, the largest {len(listed)}</h3>" + _table(names, listed, texts=6)
    return text


def _restarts(report: Row) -> str:
    runs = [(run["run"], when(run["from"], markup=False), when(run["to"], markup=False)) for run in report["runs"]]
    text = "<h2>Runs and restarts</h2>" + _table(("run of the service", "from", "to"), runs, texts=3)
    if report["restarts"]:
        rows = [
            (r["actor"], number(r["failures"]), number(r["replaced"]), r["last_reason"] or "")
            for r in report["restarts"]
        ]
        text += _table(("actor", "failures", "replaced", "last reason"), rows, texts=1, long=3)
    return text


# -- pieces -------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int, long: int = -1) -> str:
    """A table; the first `texts` columns and column `long` are text, the others numbers. Escapes every cell."""

    def kind(at: int) -> str:
        return ' class="long"' if at == long else "" if at < texts else ' class="n"'

    top = "".join(f'<th scope="col"{kind(at)}>{shown(head)}</th>' for at, head in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(at)}>{shown(cell)}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _swatch(state: str) -> str:
    return f'<svg viewBox="0 0 14 7" aria-hidden="true"><rect class="{state}" width="14" height="7"/></svg>'


def _key(series: Mapping[str, Any]) -> str:
    items = "".join(
        '<li><svg viewBox="0 0 14 7" aria-hidden="true">'
        f'<polyline class="{line_class(at)}" points="0,3.5 14,3.5"/></svg>{shown(name)}</li>'
        for at, name in enumerate(series)
    )
    return f'<ul class="key">{items}</ul>'


def _ends(report: Row) -> str:
    return f'<div class="ends"><span>{when(report["from"])}</span><span>{when(report["to"])}</span></div>'


def when(text: str | None, *, markup: bool = True) -> str:
    """A time in UTC to the second."""
    if text is None:
        return UNKNOWN
    short = f"{text[:19].replace('T', ' ')} UTC"
    return f'<time datetime="{shown(text)}">{shown(short)}</time>' if markup else short


def number(value: int | None) -> str:
    """With thousands separated by thin spaces; a dash for what is not known."""
    return UNKNOWN if value is None else f"{value:,}".replace(",", "\u202f")


def _loss(value: float | None) -> str:
    if value is None:
        return "cannot be verified"
    return number(round(value)) if value >= 1000 else f"{value:.3g}"


def _share(value: float) -> str:
    """Rounded down: what is not verified wholly is never shown as 100 %."""
    return f"{math.floor(value * 1000) / 10:g} %"


def _plain(value: float) -> str:
    return f"{value:.6g}"


def _duration(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours:.0f} h {rest / 60:.0f} min" if hours else f"{seconds:.1f} s"
