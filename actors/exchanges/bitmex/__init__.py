"""BitMEX: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bitmex import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.model.ticks import IdPromise

BITMEX = Exchange(
    name="bitmex",
    title="BitMEX",
    proven="recording",
    feed=x.Dialect(
        doc="https://www.bitmex.com/app/wsAPI",
        doc_read="2026-11-26",
        channels=(feed.TABLE,),
        limits=x.Limits(
            symbols_per_connection=200,  # ours: no number is documented
            symbols_per_request=20,  # ours: no number is documented
            requests_per_s=1.0,  # ours: no number is documented
            requests_max=600.0,  # documented: 720 an hour
            connects_per_s=0.2,  # ours: the welcome counted down from 40 in 2021, in a time that is not documented
        ),
        silence_s=20.0,  # our ping goes out after 5 s in which nothing came
        ping=x.Ping(interval_s=5.0, text=lambda _number: feed.PING, when_idle=True),
        market=feed.market,
        examples=("BTC/USD:BTC", "BTC/USDT:USDT", "BTC/USDT"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="data",
        answers_each=True,
        ids=dict.fromkeys(("spot", "swap", "future"), IdPromise.REPEATED),
        ids_note="unique (UUIDs), in no order; settlements may share the zero UUID",
        markets_note="spot BTC/USDT, perpetuals BTC/USD:BTC, ETH/USD:BTC and BTC/USDT:USDT,"
        " futures BTC/USD:BTC-261225",
        resolution="ms",
        replay_note="the last one or some of each market, marked partial",
        ping_note='we send "ping" after 5 s without a message',
        notes=(
            "volumes of perpetuals and futures are contracts, of spot base (homeNotional:"
            " the unit of its size is unsure)",
            "BTC is XBT there; futures end on the last Friday of the month that their symbol names",
            "settlements have no side",
        ),
    ),
    history=h.History(
        name="bitmex",
        kind=h.Kind.BY_TIME,
        summary="by time without end: /api/v1/trade, 1000 a request, 30 requests a minute",
        depth="without end",
        doc="https://www.bitmex.com/api/explorer/#!/Trade/Trade_get",
        doc_read="2026-11-26",
        base="https://www.bitmex.com",
        # Documented: 30 a minute without an account.
        limits=(RateLimit(name="requests", units=25.0, window_s=60.0, burst=4.0),),
        page_rows=history.ROWS_MAX,
        newest_first=False,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a range known by ids alone cannot be requested: it needs a start time",),
    ),
    instruments=InstrumentList(
        name="bitmex",
        doc="https://www.bitmex.com/api/explorer/#!/Instrument/Instrument_getActive",
        doc_read="2026-11-26",
        base="https://www.bitmex.com",
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
