"""One seed, several independent random streams, and none of them global."""

import zlib

import numpy as np
import torch


def stream(seed: int, purpose: str) -> torch.Generator:
    """The generator of `seed` for `purpose` ("masks", "topology", "order"): same arguments, same numbers.

    Two purposes get independent streams, so that the masks do not echo the order of the images.
    """
    state = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
