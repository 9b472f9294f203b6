import numpy as np


def speed_profile(track, vehicle):
    v2 = np.minimum(11.0 / np.maximum(np.abs(track.curvature), 1e-4), 3600.0)
    n = len(v2)
    for _ in range(2):
        for i in range(n - 1, -1, -1):
            v2[i] = min(v2[i], v2[(i + 1) % n] + 2 * 12 * track.spacing)
        for i in range(n):
            v2[i] = min(v2[i], v2[i - 1] + 2 * 4.5 * track.spacing)
    return np.sqrt(v2)
