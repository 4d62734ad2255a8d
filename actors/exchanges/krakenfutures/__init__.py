"""Kraken Futures: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.krakenfutures import feed, history, instruments
from actors.model.ticks import IdPromise

KRAKENFUTURES = Exchange(
    name="krakenfutures",
    title="Kraken Futures",
    proven="recording",
    feed=x.Dialect(
        doc="https://docs.kraken.com/api/docs/futures-api/websocket/trade",
        doc_read="2026-11-26",
        channels=(feed.FEED,),
        limits=x.Limits(
            symbols_per_connection=200,  # ours: no number is documented
            symbols_per_request=50,  # ours: no number is documented
            requests_per_s=5.0,  # documented: 100 a second and connection
            connects_per_s=1.0,  # ours: no rate is documented, but 100 connections
        ),
        silence_s=65.0,  # our pings are answered: two missed, and a little
        ping=x.Ping(interval_s=30.0),  # of the protocol, at least every 60 s; {"event":"ping"} is refused
        market=feed.market,
        examples=("BTC/USD:BTC", "BTC/USD:USD"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        listed=feed.listed,
        decoder=feed.Numbers,
        list_key="trades",
        answers_each=True,
        ids={"swap": IdPromise.OPAQUE, "future": IdPromise.OPAQUE},
        ids_note="unique (UUIDs), in no order; `seq` counts the trades of a market and shows what is missing"
        " (990 of 990 steps recorded)",
        markets_note="perpetuals BTC/USD:BTC and BTC/USD:USD, futures BTC/USD:BTC-260925 and BTC/USD:USD-260925",
        resolution="ms",
        replay_note="the last 100 of each market, marked trade_snapshot",
        ping_note="we send a protocol ping every 30 s; the server wants one every 60 s",
        notes=(
            "volumes of inverse perpetuals and futures are contracts of 1 US dollar, of linear ones base",
            "block trades never met the book: they are rejected as off_book; liquidations are recorded",
        ),
    ),
    history=h.History(
        name="krakenfutures",
        kind=h.Kind.BY_TIME,
        summary="by time: /derivatives/api/v3/history?lastTime=, 100 a request, newest first",
        # https://docs.kraken.com/api-reference/market-data/get-trade-history, read 2026-11-28 via stored copy.
        depth="7 days, or since the last restart of its engine",
        doc="https://docs.kraken.com/api/docs/futures-api/trading/get-history",
        doc_read="2026-11-26",
        base="https://futures.kraken.com",
        # Ours: no number is documented for this public endpoint.
        limits=(h.RateLimit(name="requests", units=20.0, window_s=10.0, burst=4.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("rows are told apart by uid: trade_id is only a row's number",),
    ),
    instruments=InstrumentList(
        name="krakenfutures",
        doc="https://docs.kraken.com/api/docs/futures-api/trading/get-instruments",
        doc_read="2026-11-26",
        base="https://futures.kraken.com",
        requests=(instruments.REQUEST,),
        parse=instruments.parse,
    ),
)
