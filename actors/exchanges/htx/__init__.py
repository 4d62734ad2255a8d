"""HTX: what it documents and promises; the functions that speak to it are in feed.py and history.py."""

from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.exchanges.contract.rest import RateLimit
from actors.exchanges.htx import feed, history, instruments
from actors.model.ticks import IdPromise

HTX = Exchange(
    name="htx",
    title="HTX",
    proven="documentation",
    feed=x.Dialect(
        doc="https://huobiapi.github.io/docs/spot/v1/en/#websocket-market-data",
        doc_read="2026-11-26",
        channels=("trade.detail",),
        limits=x.Limits(
            symbols_per_connection=100,  # ours: no number is documented
            symbols_per_request=1,
            requests_per_s=20.0,  # documented: 40 a second
            connects_per_s=1.0,  # ours: no number is documented
        ),
        silence_s=20.0,  # the server pings every 5 s
        compression="gzip",
        market=feed.market,
        examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"),
        subscribe_text=feed.subscribe_text,
        unsubscribe_text=feed.unsubscribe_text,
        trades=feed.trades,
        control=feed.control,
        list_key="tick.data",
        # The last trades, 1 s to 39 min old, on all 20 symbols recorded; REPLAY_AGE_MS (feed.py) shows the others.
        replays_unmarked=1,
        ids={"spot": IdPromise.INCREASING, "swap": IdPromise.OPAQUE},
        ids_note="spot: `tradeId` rises, almost by one; perpetuals: `id` is unique, in no promised order",
        markets_note="spot BTC/USDT, perpetuals BTC/USDT:USDT and BTC/USD:BTC",
        resolution="ms",
        replay_note="the last one of each market, not marked",
        ping_note='the server sends {"ping":n} every 5 s, answered {"pong":n}; it cuts after 4 without an answer',
        notes=(
            "volumes of perpetuals are contracts, as HTX counts them (unsure: perhaps both sides together)",
            "a suspended perpetual is acknowledged and stays silent",
        ),
    ),
    history=h.History(
        name="htx",
        kind=h.Kind.RECENT_ONLY,
        summary="the newest 2000 trades only: /market/history/trade has no cursor",
        depth=f"the newest {history.ROWS_MAX} trades",
        doc="https://www.htx.com/en-us/opend/newApiPages/?id=8cb81024-77b5-11ed-9966-0242ac110003",
        doc_read="2026-11-26",
        base=history.BASE,
        # Documented: 800 a second and address for perpetuals, no number for spot; there is but one page to ask for.
        limits=(RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),),
        page_rows=history.ROWS_MAX,
        newest_first=True,
        request=history.request,
        parse=history.parse,
        parse_error=history.parse_error,
        dense=False,
        notes=("a longer gap cannot be filled: what lies before the newest trades is lost",),
    ),
    instruments=InstrumentList(
        name="htx",
        doc="https://huobiapi.github.io/docs/spot/v1/en/#get-all-supported-trading-symbol",
        doc_read="2026-11-26",
        base=history.BASE,
        requests=instruments.REQUESTS,
        parse=instruments.parse,
    ),
)
