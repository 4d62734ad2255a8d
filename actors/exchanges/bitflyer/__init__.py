"""bitFlyer: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.bitflyer import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit, RestRequest
from actors.model.ticks import IdPromise

DOC = "https://lightning.bitflyer.com/docs?lang=en"
BASE = "https://api.bitflyer.com"

BITFLYER = Exchange(
    name="bitflyer",
    title="bitFlyer",
    proven="recording",
    feed=x.Dialect(
        doc="https://bf-lightning-api.readme.io/docs/realtime-executions",
        doc_read="2026-11-26",
        channels=(feed.CHANNEL,),
        limits=x.Limits(
            symbols_per_connection=50,  # ours: no number is documented, and there are some ten markets
            symbols_per_request=1,
            requests_per_s=5.0,  # ours: no number is documented
            connects_per_s=1.0,  # ours: no number is documented
        ),
        silence_s=45.0,  # the server pings every 15 s
        market=feed.market,
        examples=("BTC/JPY", "BTC/JPY:JPY"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="params.message",
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.INCREASING, "future": IdPromise.INCREASING},
        ids_note="rising over all markets together",
        markets_note="spot BTC/JPY, the perpetual (a CFD) BTC/JPY:JPY, futures BTC/JPY:JPY-211224",
        resolution="100 ns",
        replay_note="none",
        ping_note="the server pings every 15 s",
        notes=(
            "an unknown market is acknowledged and stays silent",
            "trades of an auction have no side",
            "BTC/JPY:JPY is FX_BTC_JPY: Lightning FX until March 2024, Crypto CFD since",
        ),
    ),
    history=h.History(
        name="bitflyer",
        kind=h.Kind.BY_ID,
        summary="by id, 31 days back: /v1/executions, 500 a request, newest first",
        depth="31 days",
        doc=DOC,
        doc_read="2026-11-26",
        base=BASE,
        # Documented: 500 in 5 minutes and address.
        limits=(RateLimit(name="requests", units=400.0, window_s=300.0, burst=50.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        slack_ns=history.SLACK_NS,
    ),
    instruments=InstrumentList(
        name="bitflyer",
        doc=DOC,
        doc_read="2026-11-26",
        base=BASE,
        requests=tuple(RestRequest(path=path) for path in instruments.PATHS),
        parse=instruments.parse,
    ),
)
