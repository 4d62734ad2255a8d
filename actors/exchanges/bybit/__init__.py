"""Bybit v5: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bybit import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.model.ticks import IdPromise

BYBIT = Exchange(
    name="bybit",
    title="Bybit",
    proven="recording",
    feed=x.Dialect(
        doc="https://bybit-exchange.github.io/docs/v5/websocket/public/trade",
        doc_read="2026-11-22",
        channels=("publicTrade",),
        limits=x.Limits(
            symbols_per_connection=500,  # ours: documented are 21,000 characters of names a connection
            symbols_per_request=10,  # documented for spot, others have no limit
            requests_per_s=5.0,  # ours: no number is documented
            connects_per_s=1.0,  # documented: 500 in 5 minutes and address
            connections_max=1000,  # documented: of an address, and that for each category
        ),
        silence_s=45.0,  # our ping is answered every 20 s: two answers missed
        ping=x.Ping(interval_s=20.0, text=lambda _number: '{"op":"ping"}'),
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.OPAQUE},
        ids_note="spot: rising, mostly by one (14 of 18 steps recorded); perpetuals: unique (UUIDs), in no order",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT, BTC/USDC:USDC and BTC/USD:BTC",
        resolution="ms",
        replay_note="none",
        ping_note='we send {"op":"ping"} every 20 s; the server cuts after 10 minutes without one',
        notes=("volumes of inverse perpetuals are US dollars", "one unknown market makes its whole request fail"),
    ),
    history=h.History(
        name="bybit",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 60 (spot) or 1000 trades only: /v5/market/recent-trade has no cursor",
        depth=f"the newest {history.SPOT_ROWS_MAX} trades of spot, {history.ROWS_MAX} of a perpetual",
        doc="https://bybit-exchange.github.io/docs/v5/market/recent-trade",
        doc_read="2026-11-22",
        base="https://api.bybit.com",
        # Documented: 600 in 5 s and address; there is but one page to ask for.
        limits=(h.RateLimit(name="requests", units=12.0, window_s=5.0, burst=4.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        banned={403: history.BAN_S},
        notes=("a longer gap cannot be filled: what lies before the newest trades is lost",),
    ),
    instruments=InstrumentList(
        name="bybit",
        doc="https://bybit-exchange.github.io/docs/v5/market/instrument",
        doc_read="2026-11-26",
        base="https://api.bybit.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
