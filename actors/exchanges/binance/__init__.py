"""Binance spot: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.binance import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.model.ticks import IdPromise

BINANCE = Exchange(
    name="binance",
    title="Binance spot",
    proven="recording",
    feed=x.Dialect(
        doc="https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md",
        doc_read="2026-11-22",
        channels=feed.CHANNELS,
        limits=x.Limits(
            symbols_per_connection=1024,  # documented
            symbols_per_request=200,  # ours: no number is documented
            requests_per_s=3.0,  # documented: 5 messages a second, pongs among them
            connects_per_s=0.9,  # documented: 300 in 5 minutes and address; at 1.0 a delay on the way makes it 301
        ),
        silence_s=50.0,  # the server pings every 20 s: two pings missed, and a little
        lifetime_s=24 * 3600.0,
        market=feed.market,
        examples=("BTC/USDT",),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        ids={"spot": IdPromise.CONTIGUOUS},
        ids_note="contiguous per market; trade and aggTrade count apart",
        markets_note="spot BTC/USDT",
        resolution="ms",
        replay_note="none",
        ping_note="the server pings every 20 s and cuts after 60 s without an answer",
        notes=("an unknown market is acknowledged and stays silent", "the end of a connection is announced"),
    ),
    history=h.History(
        name="binance",
        kind=h.Kind.BY_ID,
        summary="by id without end: /api/v3/historicalTrades (aggTrade: /api/v3/aggTrades), 1000 a request",
        depth="without end",
        doc="https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#old-trade-lookup",
        doc_read="2026-11-22",
        base="https://api.binance.com",
        # Documented: 6000 weight a minute and address (unsure); half of it, as others may share the address.
        limits=(h.RateLimit(name=history.WEIGHT, units=3000.0, window_s=60.0, burst=250.0),),
        page_rows=history.ROWS_MAX,
        newest_first=False,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        notes=("trade and aggTrade count apart, and each is filled from its own endpoint",),
    ),
    instruments=InstrumentList(
        name="binance",
        doc="https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#exchange-information",
        doc_read="2026-11-26",
        base="https://api.binance.com",
        requests=(instruments.REQUEST,),
        parse=instruments.parse,
    ),
)
