"""dYdX v4: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit, RestRequest
from actors.exchanges.dydx import feed, history, instruments
from actors.model.ticks import IdPromise

BASE = "https://indexer.dydx.trade"

DYDX = Exchange(
    name="dydx",
    title="dYdX v4",
    proven="sample",
    feed=x.Dialect(
        doc="https://docs.dydx.xyz/indexer-client/websockets",
        doc_read="2026-11-26",
        channels=(feed.CHANNEL,),
        limits=x.Limits(
            symbols_per_connection=32,  # documented, for one channel
            symbols_per_request=1,
            requests_per_s=1.5,  # documented: 2 a second and connection
            connects_per_s=1.0,  # ours: no number is documented
        ),
        silence_s=75.0,  # the server pings every 30 s
        market=feed.market,
        examples=("BTC/USD:USDC", "ETH/USD:USDC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        decoder=feed.Numbers,
        list_key="contents.trades",
        waits_for_welcome=True,
        ids={"swap": IdPromise.OPAQUE},
        ids_note="unique (block height and place); the numbers of a connection's messages show what is missing",
        markets_note="perpetuals BTC/USD:USDC",
        resolution="ms",
        replay_note="the last 100 of each market, in the answer to the request",
        ping_note="the server pings every 30 s and cuts after 10 s without an answer",
        notes=(
            "the time is that of the block: many trades share it",
            "a hole in the numbers of a connection's messages is a gap of each of its markets",
            "deleveraging never met the book: it is rejected as off_book",
        ),
    ),
    history=h.History(
        name="dydx",
        kind=h.Kind.BY_TIME,
        summary="by time or block height without end: /v4/trades/perpetualMarket, 1000 a request, newest first",
        depth="without end, as far as is documented",
        doc="https://docs.dydx.xyz/indexer-client/http",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 100 in 10 s and address.
        limits=(RateLimit(name="requests", units=50.0, window_s=10.0, burst=10.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
    ),
    instruments=InstrumentList(
        name="dydx",
        doc="https://docs.dydx.xyz/indexer-client/http",  # read through clients that follow it
        doc_read="2026-11-26",
        base=BASE,
        requests=(RestRequest(path=instruments.PATH),),
        parse=instruments.parse,
    ),
)
