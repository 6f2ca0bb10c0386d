"""How often the garbage collector looks."""

import gc


def quieten_gc() -> None:
    """Tell the garbage collector that what is there now stays, and to look at new objects less often.

    Nothing of ours makes cycles on a hot path; by default it walks over the whole program many times a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
