"""Bitget v2: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bitget import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.model.ticks import IdPromise

BASE = "https://api.bitget.com"

BITGET = Exchange(
    name="bitget",
    title="Bitget",
    proven="sample",
    feed=x.Dialect(
        doc="https://www.bitget.com/api-doc/spot/websocket/public/Trades-Channel",
        doc_read="2026-11-26",
        channels=(feed.CHANNEL,),
        limits=x.Limits(
            symbols_per_connection=50,  # documented: 1000 are allowed, fewer than 50 advised
            symbols_per_request=10,  # ours: a request of 25 ended the connection on the newer endpoint
            requests_per_s=5.0,  # documented: 10 a second
            requests_max=200,  # documented: 240 an hour and connection
            connects_per_s=0.5,  # documented: 300 in 5 minutes and address
            connections_max=100,  # documented: of an address
        ),
        silence_s=75.0,  # our ping is answered every 30 s: two answers missed
        ping=x.Ping(interval_s=30.0, text=lambda _number: "ping"),  # cut after 2 minutes without, also amid data
        lifetime_s=24 * 3600.0,
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USDC:USDC", "BTC/USD:BTC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        listed=feed.listed,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        answers_each=True,
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.INCREASING},
        ids_note="rising per market, with holes",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT, BTC/USDC:USDC and BTC/USD:BTC",
        resolution="ms",
        replay_note="the last 1 to 50 of each market, marked",
        ping_note='we send "ping" every 30 s; the server cuts after 2 minutes without one',
        notes=(
            "volumes of perpetuals are base; of coin-margined ones that is unsure",
            "an unknown market that exists as another kind is acknowledged and stays silent",
        ),
    ),
    history=h.History(
        name="bitget",
        kind=h.Kind.BY_TIME,
        summary="by id and time, 90 days: /api/v2/spot/market/fills-history and /api/v2/mix/..., 1000 a request",
        depth="90 days; a market without trades for 7 days is not searched further back",
        doc="https://www.bitget.com/api-doc/contract/market/Get-Fills-History",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 10 a second and address.
        limits=(RateLimit(name="requests", units=10.0, window_s=1.0, burst=3.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
    ),
    instruments=InstrumentList(
        name="bitget",
        doc="https://www.bitget.com/api-doc/contract/market/Get-All-Symbols-Contracts",
        doc_read="2026-11-26",
        base=BASE,
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
