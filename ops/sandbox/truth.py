"""Compares what the loopback exchanges traded with the file: each trade is stored once, or lies in a listed gap."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb

from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import parse_symbol
from actors.model.ticks import IdPromise

if TYPE_CHECKING:
    from ops.sandbox.server import Sandbox

UNFINISHED = ("open", "lost", "partial", "unknown")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Newest = Mapping[tuple[str, str], str]


@dataclass(slots=True)
class Account:
    """One exchange's trades: made, of them stored, and of them missing.

    Of the missing ones `listed` lie in gaps, `unproven` where coverage says that nothing proves completeness.
    """

    made: int = 0
    stored: int = 0
    listed: int = 0
    unproven: int = 0
    repaired: int = 0  # of the stored ones: those that came from the history
    gaps_open: int = 0
    gaps_filled: int = 0


@dataclass(slots=True)
class Verdict:
    """What was found, by exchange."""

    exchanges: dict[str, Account] = field(default_factory=dict)

    @property
    def total(self) -> Account:
        """The sums over all exchanges."""
        names = Account.__dataclass_fields__
        return Account(**{name: sum(getattr(one, name) for one in self.exchanges.values()) for name in names})

    @property
    def listed(self) -> dict[str, int]:
        """How many trades are missing and listed, of the exchanges that miss any."""
        return {name: one.listed for name, one in self.exchanges.items() if one.listed}

    def __str__(self) -> str:
        total = self.total
        return (
            f"{total.made} trades, {total.stored} stored ({total.repaired} from history),"
            f" {total.listed} missing and listed {self.listed},"
            f" {total.gaps_filled} gaps filled, {total.gaps_open} open"
        )


class Untrue(Exception):
    """The file and the truth differ; the message has the first trade at which they do."""


def newest(sandbox: "Sandbox") -> dict[tuple[str, str], str]:
    """The newest trade of each market now: up to here a service has to account for all."""
    return {
        (exchange, symbol): fills[-1].trade_id
        for exchange, markets in sandbox.truth.items()
        for symbol, fills in markets.items()
        if fills
    }


def compare(
    con: duckdb.DuckDBPyConnection, sandbox: "Sandbox", until: Newest, *, unproven_allowed: bool = False
) -> Verdict:
    """Raises Untrue unless each trade from the first stored of its market to `until` is stored once, as it was
    made, or listed; and unless everything stored was traded, and no limit of an exchange was exceeded.

    With `unproven_allowed` a trade may also be missing where coverage says that nothing proves completeness.
    """
    verdict = Verdict()
    for exchange, markets in sandbox.truth.items():
        struck = sandbox.struck[exchange]
        if struck["rate_limit"] or struck["rest_impatient"]:
            raise Untrue(f"{exchange} was asked too much: {dict(struck)}")
        account = verdict.exchanges[exchange] = Account()
        for symbol, fills in markets.items():
            market = _Market(exchange, symbol, fills, until.get((exchange, symbol)))
            _compare_market(con, market, account, unproven_allowed=unproven_allowed)
        account.gaps_open, account.gaps_filled = con.execute(
            "SELECT count(*) FILTER (status = 'open'), count(*) FILTER (status = 'filled' AND recovered > 0)"
            " FROM gaps WHERE exchange = ?",
            [exchange],
        ).fetchone() or (0, 0)
    wrong = con.execute(
        "SELECT * FROM audit WHERE received <> stored + duplicates + rejected + in_flight"
    ).fetchone()
    if wrong is not None:
        raise Untrue(f"the audit does not add up: {wrong}")
    return verdict


def nameless(exchange: str, symbol: str) -> bool:
    """Whether ids do not identify a trade: it is then known by all else, and by its twins before it."""
    return _promise(exchange, symbol) in (IdPromise.NONE, IdPromise.REPEATED)


def _promise(exchange: str, symbol: str) -> IdPromise | None:
    return EXCHANGES[exchange].feed.ids.get(parse_symbol(symbol).kind)


@dataclass(frozen=True, slots=True)
class _Market:
    exchange: str
    symbol: str
    fills: Sequence[Fill]
    until: str | None

    @property
    def by_id(self) -> bool:
        """Whether gaps say by their ids what they hold; elsewhere only their times do."""
        return _promise(self.exchange, self.symbol) is IdPromise.CONTIGUOUS

    @property
    def nameless(self) -> bool:
        """See `nameless`."""
        return nameless(self.exchange, self.symbol)


def _compare_market(
    con: duckdb.DuckDBPyConnection, market: _Market, account: Account, *, unproven_allowed: bool
) -> None:
    name, key = f"{market.exchange} {market.symbol}", [market.exchange, market.symbol]
    rows = con.execute(
        "SELECT trade_id, fills, source, price, volume, side, timestamp, received_at FROM ticks"
        " WHERE exchange = ? AND symbol = ?",
        key,
    ).fetchall()
    fills = list(market.fills)  # after the rows, for trading goes on
    until = market.until
    if market.nameless:
        names = _names([(_time(fill), Decimal(fill.price), Decimal(fill.volume), fill.side) for fill in fills])
        until = next((own for own, fill in zip(names, fills, strict=True) if fill.trade_id == until), until)
        fills = [replace(fill, trade_id=own) for own, fill in zip(names, fills, strict=True)]
        names = _names([(at, price, volume, side) for *_, price, volume, side, at, _ in rows])
        rows = [(own, *row[1:]) for own, row in zip(names, rows, strict=True)]
    ids = [number for trade_id, count, *_ in rows for number in span(trade_id, count)]
    stored = set(ids)
    fetched = {own for own, count, source, *_ in rows if source == "backfill" for own in span(own, count)}
    if not stored:
        raise Untrue(f"{name}: nothing is stored")
    if len(ids) != len(stored):
        twice = sorted(number for number, count in Counter(ids).items() if count > 1)
        each = [f"{row[2]} received {row[7]}" for row in rows if twice[0] in span(row[0], row[1])]
        raise Untrue(f"{name}: {twice[0]} is stored twice ({'; '.join(each)}), of {len(twice)} up to {twice[-1]}")
    truth = {number: fill for fill in fills for number in span(fill.trade_id, fill.count)}
    if not stored <= truth.keys():
        raise Untrue(f"{name}: {min(stored - truth.keys())} is stored and was never traded")
    for trade_id, count, source, price, volume, side, at, _ in rows:
        fill, made_at = truth[trade_id], _time(truth[trade_id])
        if source == "backfill" and at.microsecond % 1000 == 0:  # bitflyer's history has no finer times
            step = 1000 if at.microsecond else 1_000_000  # and bitstamp's none below a second
            made_at = made_at.replace(microsecond=made_at.microsecond // step * step)
        # A trade that used up several ids may come back from the history in parts, each with its share.
        whole = count != fill.count or volume == Decimal(fill.volume)
        if (price, side, at) != (Decimal(fill.price), fill.side, made_at) or not whole:
            raise Untrue(f"{name}: {trade_id} is stored as {side} {volume} at {price}, {at}, but was {fill}")
    gaps = con.execute(
        "SELECT from_id, to_id, from_time, coalesce(to_time, closed_at) FROM gaps"
        " WHERE exchange = ? AND symbol = ? AND status IN ?",
        [*key, list(UNFINISHED)],
    ).fetchall()
    order = list(truth)
    first = next(at for at, number in enumerate(order) if number in stored)
    last = order.index(until) if until is not None else -1
    account.made += len(order[first : last + 1])
    missing = [number for number in order[first : last + 1] if number not in stored]
    account.stored += len(order[first : last + 1]) - len(missing)
    unlisted = [
        number
        for number in missing
        if not any(_inside(gap, number, truth[number], by_id=market.by_id) for gap in gaps)
    ]
    account.repaired += len(fetched & set(order[first : last + 1]))
    account.listed += len(missing) - len(unlisted)
    account.unproven += len(unlisted)
    proven = _proven(con, key) if unlisted and unproven_allowed else []
    for number in unlisted:
        at = _time(truth[number])
        if not unproven_allowed or any(begin <= at < end for begin, end in proven):
            raise Untrue(f"{name}: {number} is neither stored nor listed: {truth[number]}; gaps: {gaps[-5:]}")


def _proven(con: duckdb.DuckDBPyConnection, key: Sequence[str]) -> list[tuple[datetime, datetime]]:
    """The intervals of a market in which coverage claims that nothing is missing."""
    return con.execute(
        "SELECT from_time, to_time FROM coverage WHERE exchange = ? AND symbol = ? AND proof <> 'none'", key
    ).fetchall()


def _names(trades: Sequence[tuple[Any, ...]]) -> list[str]:
    """What identifies each where ids do not."""
    counts: Counter[tuple[Any, ...]] = Counter()
    names = []
    for trade in trades:
        counts[trade] += 1
        at, price, volume, side = trade
        names.append(f"{at}/{price.normalize()}/{volume.normalize()}/{side}/{counts[trade]}")
    return names


def _inside(gap: tuple[Any, ...], number: str, fill: Fill, *, by_id: bool) -> bool:
    """Whether a gap names a trade; one without an end goes on, until it is given up."""
    from_id, to_id, from_time, to_time = gap
    at = _time(fill)
    if by_id and from_id is not None and to_id is not None:
        return int(from_id) < int(number) < int(to_id)
    return bool(from_time <= at and (to_time is None or at <= to_time))


def _time(fill: Fill) -> datetime:
    return EPOCH + timedelta(microseconds=fill.ns // 1_000)


def span(trade_id: str, count: int) -> list[str]:
    """The ids that a trade used up, oldest first."""
    return [trade_id] if count == 1 else [str(int(trade_id) - back) for back in reversed(range(count))]
