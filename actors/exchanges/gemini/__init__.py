"""Gemini: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit, RestRequest
from actors.exchanges.gemini import feed, history, instruments
from actors.model.ticks import IdPromise

BASE = "https://api.gemini.com"

GEMINI = Exchange(
    name="gemini",
    title="Gemini",
    proven="recording",
    feed=x.Dialect(
        doc="https://docs.gemini.com/websocket-api/#market-data-version-2",
        doc_read="2026-11-26",
        channels=feed.CHANNELS,
        limits=x.Limits(
            symbols_per_connection=50,  # ours: the whole order book of each comes with its trades
            symbols_per_request=50,  # ours: no number is documented
            requests_per_s=1.0,  # ours: one request a symbol and minute is advised
            connects_per_s=0.5,  # documented: 300 in 5 minutes and address
            message_bytes=8 << 20,  # the first message of a market holds its order book, above 1 MB at times
        ),
        silence_s=45.0,  # heartbeats every 5 s; the newer API answers our pings
        ping={feed.ENDPOINTS[feed.TRADE]: x.Ping(interval_s=20.0)},
        market=feed.market,
        examples=("BTC/USD", "ETH/BTC", "BTC/USDC:USDC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="trades",
        acknowledges=frozenset((feed.TRADE,)),
        ids={"spot": IdPromise.OPAQUE, "swap": IdPromise.OPAQUE},
        ids_note="`tid` is unique; frames of 2021 had none",
        markets_note="spot BTC/USD, perpetuals BTC/USDC:USDC and BTC/GUSD:GUSD",
        resolution="ms",
        replay_note="the last 50 to 100 of each market, in its first order book",
        ping_note="the server sends a heartbeat every 5 s; to the newer API we send a protocol ping every 20 s",
        notes=(
            "there is no channel of trades alone: order books come too, and are passed over",
            "the channel `trade` is that of the newer API (wss://ws.gemini.com): lighter, with nanoseconds, and"
            " known from its documentation only",
            "on l2 requests are not answered: an unknown market gets no error and stays without trades",
            "on `trade` one unknown market makes its whole request fail",
            "blocks have no taker's side; auctions are not recorded, as the stream announces only their results,"
            " which have no id, so the history's rows of them are left out too",
            "a perpetual in USDC and its twin in GUSD are one order book with the same ids",
        ),
    ),
    history=h.History(
        name="gemini",
        kind=h.Kind.BY_TIME,
        summary="by time, then by id: /v1/trades, 500 a request",
        depth="7 days (unsure)",
        doc="https://docs.gemini.com/rest-api/#trade-history",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 120 a minute and address.
        limits=(RateLimit(name="requests", units=60.0, window_s=60.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=False,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        slack_ns=history.SLACK_NS,
        notes=("its times are milliseconds, also of trades that the channel `trade` sends with nanoseconds",),
    ),
    instruments=InstrumentList(
        name="gemini",
        doc="https://docs.gemini.com/rest-api/#symbols",
        doc_read="2026-11-26",
        base=BASE,
        requests=(RestRequest(path=instruments.PATH),),
        parse=instruments.parse,
    ),
)
