"""Binance COIN-M futures: what it documents and promises. Its functions are mostly those of binance."""

from actors.exchanges.binance import feed as spot
from actors.exchanges.binance.history import ROWS_MAX, WEIGHT, parse_error
from actors.exchanges.binancecoinm import feed, history, instruments
from actors.exchanges.contract import feed as x
from actors.exchanges.contract import history as h
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.instruments import InstrumentList
from actors.model.ticks import IdPromise

BINANCECOINM = Exchange(
    name="binancecoinm",
    title="Binance COIN-M futures",
    proven="recording",
    feed=x.Dialect(
        doc="https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams",
        doc_read="2026-11-26",
        channels=feed.CHANNELS,
        limits=x.Limits(
            symbols_per_connection=1024,  # documented
            symbols_per_request=200,  # ours: no number is documented
            requests_per_s=5.0,  # documented: 10 messages a second, pings and pongs among them
            connects_per_s=0.9,  # ours: no number is documented, spot has 300 in 5 minutes
        ),
        silence_s=75.0,  # our pings are answered: two missed, and a little
        ping=x.Ping(interval_s=30.0),  # the server's own come every 3 minutes only
        lifetime_s=24 * 3600.0,
        market=feed.market,
        examples=("BTC/USD:BTC",),
        subscribe_text=spot.subscribe_text,
        unsubscribe_text=spot.unsubscribe_text,
        trades=spot.futures_trades,
        control=spot.control,
        ids={"swap": IdPromise.CONTIGUOUS, "future": IdPromise.CONTIGUOUS},
        ids_note="contiguous per market; trade and aggTrade count apart",
        markets_note="perpetuals BTC/USD:BTC, futures BTC/USD:BTC-260925",
        resolution="ms",
        replay_note="none",
        ping_note="we send a protocol ping every 30 s; the server pings every 3 minutes and cuts after 10"
        " without an answer",
        notes=(
            "volumes are contracts: 100 US dollars of BTC, 10 of all others",
            "aggTrade joins fills of one price and side within 100 ms,"
            " and leaves out those that never met the book",
            "trade has these (X is not MARKET), rejected as off_book; it is not documented",
            "an unknown market is acknowledged and stays silent",
        ),
    ),
    history=h.History(
        name="binancecoinm",
        kind=h.Kind.BY_ID,
        summary="aggTrade by id: /dapi/v1/aggTrades, 1000 a request; trade: the newest 1000 only",
        depth="1 year (newer copies of the documents say 24 hours); single trades: the newest 1000",
        doc="https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/"
        "Compressed-Aggregate-Trades-List",
        doc_read="2026-11-26",
        base="https://dapi.binance.com",
        # Documented: 2400 weight a minute and address; half of it, as others may share the address.
        limits=(h.RateLimit(name=WEIGHT, units=1200.0, window_s=60.0, burst=100.0),),
        page_rows=ROWS_MAX,
        newest_first=False,
        request=history.request,
        parse=history.parse,
        parse_error=parse_error,
        notes=(
            "single trades by id want an API key",
            "beyond 23 hours, a range by time is complete only if a trade proves that the history reaches it",
        ),
    ),
    instruments=InstrumentList(
        name="binancecoinm",
        doc="https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/"
        "Exchange-Information",
        doc_read="2026-11-26",
        base="https://dapi.binance.com",
        requests=(instruments.REQUEST,),
        parse=instruments.parse,
    ),
)
