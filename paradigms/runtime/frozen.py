"""Spares the processes that are forked a look at what the fork server has loaded: the garbage
collector of each would go through all of torch's objects, several times while the process starts,
and copy their pages. The fork server imports this module last; nothing else does."""

import gc

gc.collect()
gc.freeze()
