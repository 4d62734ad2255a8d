"""Bitfinex: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bitfinex import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit, RestRequest
from actors.model.ticks import IdPromise

BITFINEX = Exchange(
    name="bitfinex",
    title="Bitfinex",
    proven="documentation",
    feed=x.Dialect(
        doc="https://docs.bitfinex.com/reference/ws-public-trades",
        doc_read="2026-11-26",
        channels=("trades",),
        limits=x.Limits(
            symbols_per_connection=25,  # documented, on another page 30; 36 were accepted in September 2026
            symbols_per_request=1,
            requests_per_s=5.0,  # ours: no number is documented
            connects_per_s=0.3,  # documented: 20 a minute
        ),
        silence_s=45.0,  # a heartbeat every 15 s and channel
        market=feed.market,
        examples=("BTC/USD", "BTC/USDT", "BTC/USDT:USDT"),
        subscribe_text=feed.subscribe_text,
        decoder=feed.Channels,
        list_key="1",
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.INCREASING},
        ids_note="rising over all markets together",
        markets_note="spot BTC/USD and BTC/USDT, perpetuals BTC/USDT:USDT",
        resolution="ms",
        replay_note="the last 30 of each market, marked by their form",
        ping_note="the server sends a heartbeat every 15 s on each channel",
        notes=(
            "codes are Bitfinex's own except USDT (UST there) and USDC (UDC)",
            "what is missing of a market does not show in ids that count all markets together",
        ),
    ),
    history=h.History(
        name="bitfinex",
        kind=h.Kind.BY_TIME,
        summary="by time without end: /v2/trades/SYMBOL/hist, 10000 a request, 15 requests a minute",
        depth="without end",
        doc="https://docs.bitfinex.com/reference/rest-public-trades",
        doc_read="2026-11-26",
        base="https://api-pub.bitfinex.com",
        # Documented: 15 a minute and address; beyond, all is refused for 60 s.
        limits=(RateLimit(name="requests", units=15.0, window_s=60.0, burst=3.0),),
        page_rows=history.ROWS_MAX,
        newest_first=False,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        refuses_with_500=True,
        dense=False,
        notes=("a range known by ids alone cannot be requested: it needs a start time",),
    ),
    instruments=InstrumentList(
        name="bitfinex",
        doc="https://docs.bitfinex.com/reference-link/rest-public-conf",
        doc_read="2026-11-26",
        base="https://api-pub.bitfinex.com",
        requests=(RestRequest(path=instruments.SPOT_PATH), RestRequest(path=instruments.SWAP_PATH)),
        parse=instruments.parse,
    ),
)
