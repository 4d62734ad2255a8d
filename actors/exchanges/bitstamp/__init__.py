"""Bitstamp: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bitstamp import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit, RestRequest
from actors.model.ticks import IdPromise

BASE = "https://www.bitstamp.net"

BITSTAMP = Exchange(
    name="bitstamp",
    title="Bitstamp",
    proven="recording",
    feed=x.Dialect(
        doc="https://www.bitstamp.net/websocket/v2/",
        doc_read="2026-11-26",
        channels=(feed.CHANNEL,),
        limits=x.Limits(
            symbols_per_connection=500,  # documented: 1024; one more ends the connection without a reason
            symbols_per_request=1,
            request_bytes=500,  # measured: 513 or more end the connection
            requests_per_s=10.0,  # ours: no number is documented
            connects_per_s=1.0,  # ours: no number is documented
        ),
        silence_s=65.0,  # our heartbeat is answered every 30 s: two answers missed; the server pings every 54 s
        ping=x.Ping(interval_s=30.0, text=lambda _number: feed.HEARTBEAT),
        lifetime_s=90 * 86_400.0,
        market=feed.market,
        examples=("BTC/USD", "BTC/USD:USD"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.INCREASING},
        ids_note="rising over all markets together",
        markets_note="spot BTC/USD, perpetuals BTC/USD:USD",
        resolution="us",
        replay_note="none",
        ping_note='we send {"event":"bts:heartbeat"} every 30 s; the server pings every 54 s',
        notes=(
            "an unknown market is acknowledged and stays silent",
            "the end of a connection is announced some seconds before",
            "times of trades that come by REST are whole seconds",
        ),
    ),
    history=h.History(
        name="bitstamp",
        kind=h.Kind.RECENT_ONLY,
        summary="the last minute, hour or day in one answer: /api/v2/transactions, by whole seconds",
        depth="1 day",
        doc="https://www.bitstamp.net/api/#tag/Transactions-public",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 10,000 in 10 minutes.
        limits=(RateLimit(name="requests", units=2_000.0, window_s=600.0, burst=20.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        slack_ns=history.SLACK_NS,
        notes=("a trade that came by REST has its time by the second, its id is the stream's",),
    ),
    instruments=InstrumentList(
        name="bitstamp",
        doc="https://www.bitstamp.net/api/#tag/Market-info",  # read through clients that follow it
        doc_read="2026-11-26",
        base=BASE,
        requests=(RestRequest(path=instruments.PATH),),
        parse=instruments.parse,
    ),
)
