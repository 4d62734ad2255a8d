"""How long to wait before the history of an exchange is asked again after it brought nothing."""

FIRST_S, MAX_S = 2.0, 300.0


def patience_s(tries: int) -> float:
    """After so many tries in a row: twice as long each time, up to five minutes."""
    return float(min(MAX_S, FIRST_S * 2.0 ** min(tries, 10)))
