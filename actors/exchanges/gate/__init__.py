"""Gate: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.gate import feed, history, instruments
from actors.model.ticks import IdPromise

BASE = "https://api.gateio.ws"

GATE = Exchange(
    name="gate",
    title="Gate",
    proven="documentation",
    feed=x.Dialect(
        doc="https://www.gate.com/docs/developers/apiv4/ws/en/#public-trades-channel",
        doc_read="2026-11-26",
        channels=(feed.TRADES,),
        limits=x.Limits(
            symbols_per_connection=500,  # ours: no number is documented; 200 in one request were accepted
            symbols_per_request=50,  # ours: one unknown market makes its whole request fail
            requests_per_s=10.0,  # ours: no number is documented
            connects_per_s=1.0,  # ours: no rate is documented
            connections_max=300,  # of an address: by an issue of its own client, not by the documentation (unsure)
        ),
        silence_s=45.0,  # our ping is answered every 20 s: two answers missed
        ping=feed.PINGS,
        headers=feed.HEADERS,
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC", "BTC/USDT:USDT-261225"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        listed=feed.listed,
        decoder=feed.Numbers,
        list_key="result",
        ids=dict.fromkeys(("spot", "swap", "future"), IdPromise.INCREASING),
        ids_note="rising per market; `id_market` counts the trades of a spot market and shows what is missing",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT and BTC/USD:BTC, futures BTC/USDT:USDT-261225",
        resolution="us",
        replay_note="none",
        ping_note='we send {"channel":"spot.ping"} or {"channel":"futures.ping"} every 20 s;'
        " the server sends protocol pings too",
        notes=(
            "volumes of perpetuals and futures are contracts, of which some trade in fractions",
            "times of perpetuals and futures are milliseconds",
            "trades of the insurance fund and of deleveraging never met the book: they are rejected as off_book",
            "one unknown market makes its whole request fail; one of another settlement coin is acknowledged"
            " and stays silent",
        ),
    ),
    history=h.History(
        name="gate",
        kind=h.Kind.BY_TIME,
        summary="by time, 30 days on spot: /spot/trades and /futures/COIN/trades, 1000 a request",
        depth="30 days on spot; how far back contracts go is not documented",
        doc="https://www.gate.com/docs/developers/apiv4/en/#query-market-transaction-records",
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 200 in 10 s, path and address (unsure).
        limits=(RateLimit(name="requests", units=100.0, window_s=10.0, burst=10.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        slack_ns=history.SLACK_NS,
    ),
    instruments=InstrumentList(
        name="gate",
        doc="https://www.gate.com/docs/developers/apiv4/en/#query-all-supported-currency-pairs",
        doc_read="2026-11-26",
        base=BASE,
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
