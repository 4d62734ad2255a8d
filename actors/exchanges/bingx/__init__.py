"""BingX: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bingx import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.model.ticks import IdPromise

BASE = "https://open-api.bingx.com"

BINGX = Exchange(
    name="bingx",
    title="BingX",
    proven="sample",
    feed=x.Dialect(
        doc="https://bingx-api.github.io/docs/#/en-us/spot/socket/market.html",
        doc_read="2026-11-26",
        channels=(feed.TRADE,),
        limits=x.Limits(
            symbols_per_connection=200,  # documented, and measured: the 201st is refused
            symbols_per_request=1,
            requests_per_s=5.0,  # documented: fewer than 10 a second
            connects_per_s=0.5,  # ours: no rate is documented
            connections_max=60,  # documented
        ),
        silence_s=20.0,  # the server pings every 5 s
        compression="gzip",
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        ids={"spot": IdPromise.OPAQUE, "swap": IdPromise.NONE},
        ids_note="spot: unique, in no promised order; perpetuals: none",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT",
        resolution="ms",
        replay_note="none",
        ping_note='the server sends "Ping" every 5 s, answered "Pong"; it cuts after 6 without an answer',
        notes=(
            "the side of spot trades is disputed: this follows the documents, some clients found it inverted",
            "volumes of perpetuals are base",
            "volumes of spot lose their 19th decimal, as 18 can be stored",
            "of a market that was refused one trade may come all the same",
        ),
    ),
    history=h.History(
        name="bingx",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 500 (spot) or 1000 trades only: /openApi/.../trades have no cursor",
        depth=f"the newest {history.SPOT_ROWS_MAX} trades of spot, {history.SWAP_ROWS_MAX} of a perpetual",
        doc="https://bingx-api.github.io/docs/#/en-us/spot/market-api.html",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 500 in 10 s and address (unsure).
        limits=(RateLimit(name="requests", units=50.0, window_s=10.0, burst=5.0),),
        page_rows=history.SWAP_ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a longer gap cannot be filled: what lies before the newest trades is lost",),
    ),
    instruments=InstrumentList(
        name="bingx",
        doc="https://bingx-api.github.io/docs/#/en-us/spot/market-api.html",
        doc_read="2026-11-26",
        base=BASE,
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
