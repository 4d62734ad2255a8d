"""Phemex: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.phemex import feed, history, instruments
from actors.model.ticks import IdPromise

PHEMEX = Exchange(
    name="phemex",
    title="Phemex",
    proven="recording",
    feed=x.Dialect(
        doc="https://phemex-docs.github.io/#subscribe-trade",
        doc_read="2026-11-26",
        channels=("trade",),
        limits=x.Limits(
            symbols_per_connection=100,  # measured: 101 were accepted in September 2026, documented are 20
            symbols_per_request=1,
            requests_per_s=10.0,  # documented: 20 a second
            connects_per_s=0.5,  # documented: 200 in 5 minutes and address
            connections_max=5,  # documented: at the same time, "per client"
        ),
        silence_s=20.0,  # our ping is answered every 5 s
        ping=x.Ping(interval_s=5.0, text=lambda _number: feed.PING),
        market=feed.market,
        listed=feed.listed,
        examples=("BTC/USD:BTC", "BTC/USDT:USDT", "BTC/USDT"),
        subscribe_text=feed.subscribe_text,
        decoder=feed.Products,
        list_key="trades|trades_p",
        ids=dict.fromkeys(("spot", "swap"), IdPromise.NONE),
        ids_note="none",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT and BTC/USD:BTC",
        resolution="ns",
        replay_note="the last 200 to 1000 of each market, marked; where the mark is missing, told by their number",
        ping_note="we send server.ping every 5 s; the server cuts after some 31 s without one",
        notes=(
            "prices and volumes of inverse perpetuals and spot are scaled integers: 10^4 and 1, or 10^8 and 10^8, "
            "where the list of products does not say otherwise",
            "volumes of inverse perpetuals are contracts, of all else base",
            "5 connections at the same time are documented: of up to 200 markets each has two, of more one",
        ),
    ),
    history=h.History(
        name="phemex",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 200 trades only: /md/trade has no cursor",
        depth=f"the newest {history.ROWS_MAX} trades",
        doc="https://phemex-docs.github.io/#query-recent-trades",
        doc_read="2026-11-26",
        base="https://api.phemex.com",
        # Ours: there is but one page to ask for.
        limits=(RateLimit(name="requests", units=5.0, window_s=1.0, burst=2.0),),
        page_rows=1000,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a longer gap cannot be filled: what lies before the newest trades is lost",),
    ),
    instruments=InstrumentList(
        name="phemex",
        doc="https://phemex-docs.github.io/#query-product-information",
        doc_read="2026-11-26",
        base="https://api.phemex.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
