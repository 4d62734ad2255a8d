"""The three lines above the tables of `top`."""

from ops.cli.status import lake_words, since
from ops.cli.top.history import History
from ops.cli.top.sample import Sample
from ops.cli.top.words import count, fill, number, plain
from supervisor.text import REASON_CHARS_MAX, printable


def verdict(sample: Sample, history: History) -> tuple[str, str]:
    """The state of the whole, for its colour, and all that is well or wrong in one line."""
    status = sample.status
    reasons = list(map(plain, status["reasons"]))
    if status["state"] != "ok":
        more = f", {len(reasons)} reasons" if len(reasons) > 1 else ""
        return status["state"], f"{status['state']}{more}{': ' + reasons[0] if reasons else ''}"
    exchanges = status["exchanges"]
    rates = [history.rate(name) for name in exchanges]
    text = f"{count(len(rates), 'exchange')} at {number(sum(rate or 0.0 for rate in rates))} ticks/s"
    gaps = sum(row["gaps_open"] for row in exchanges.values())
    text += f", {count(gaps, 'gap')} open" if gaps else ", no gap open"
    if odd := [f"{name}: {plain(row['reasons'][0])}" for name, row in exchanges.items() if row["reasons"]]:
        return "degraded", f"recording, but {odd[0]}; {text}"
    return "ok", f"{'recording' if gaps else 'all well'}: {text}"


def service_line(sample: Sample, width: int) -> str:
    """The process, its mailboxes and its file."""
    status = sample.status
    boxes = [f"{actor['name']} {fill(actor['mailbox'])}" for actor in sample.actors if actor["mailbox"]]
    text = f"pid {status['pid']}, up {since(status['started_at'], sample.now)}"
    text += f"; mailboxes: {', '.join(boxes)}; " if boxes else "; "
    path = printable(status["store"]["path"], REASON_CHARS_MAX)
    return text + (path if len(text + path) <= width else f"…{path[len(text) + len(path) + 1 - width :]}")


def store_line(sample: Sample) -> str:
    """The tail, what was done last, and who has the file open."""
    store, now = sample.status["store"], sample.now
    parts = [f"{count(store['segments'], 'segment')} ({store['segment_bytes'] / 1e6:.1f} MB)"]
    for what, at in (("flushed", store["last_flush_at"]), ("merged", store["last_merge_at"])):
        parts.append(f"{what} {since(at, now)} ago" if at else f"not {what} yet")
    holder = f"pid {store['held_by_pid']}" if store["held_by_pid"] else "another process"
    parts.append(f"held by {holder}" if store["held"] else "nobody holds it")
    if lake := sample.status.get("lake"):
        parts.append(f"lake: {lake_words(lake, now)}")
    return "; ".join(parts)
