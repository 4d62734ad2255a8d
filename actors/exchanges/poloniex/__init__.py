"""Poloniex: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.poloniex import feed, history, instruments
from actors.model.ticks import IdPromise

POLONIEX = Exchange(
    name="poloniex",
    title="Poloniex",
    proven="recording",
    feed=x.Dialect(
        doc="https://api-docs.poloniex.com/spot/websocket/market-data",
        doc_read="2026-11-26",
        channels=(feed.TRADES,),
        limits=x.Limits(
            symbols_per_connection=500,  # ours: no number is documented
            symbols_per_request=50,  # ours: no number is documented
            requests_per_s=10.0,  # documented: 500 a second and connection
            connects_per_s=1.0,  # ours: no rate is documented
            connections_max=2000,  # documented
        ),
        silence_s=45.0,  # our ping is answered every 15 s
        ping=x.Ping(interval_s=15.0, text=lambda _number: feed.PING),
        market=feed.market,
        examples=("BTC/USDT", "ETH/BTC", "BTC/USDT:USDT"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        ids={"spot": IdPromise.CONTIGUOUS, "swap": IdPromise.INCREASING},
        ids_note="spot: contiguous per market (8 of 8 steps recorded); perpetuals: rising per market",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT",
        resolution="ms",
        replay_note="none",
        ping_note='we send {"event":"ping"} every 15 s; the server cuts after 30 s without a message',
        notes=(
            "an error names no market: each market of the request is asked for again by itself",
            "volumes of perpetuals are contracts",
            "the stream of perpetuals is known from its documentation only",
        ),
    ),
    history=h.History(
        name="poloniex",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 1000 trades only: /markets/SYMBOL/trades has no cursor",
        depth=f"the newest {history.ROWS_MAX} trades",
        doc="https://api-docs.poloniex.com/spot/api/public/market-data#trades",
        doc_read="2026-11-26",
        base="https://api.poloniex.com",
        # Documented: 200 (spot) and 300 (v3) a second and address; there is but one page to ask for.
        limits=(RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        notes=("a longer gap cannot be filled: what lies before the newest trades is lost",),
    ),
    instruments=InstrumentList(
        name="poloniex",
        doc="https://api-docs.poloniex.com/spot/api/public/reference-data#symbol-information",
        doc_read="2026-11-26",
        base="https://api.poloniex.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
