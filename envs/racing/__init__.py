"""A world of cars on real and made circuits: tracks, vehicle, world, metrics, views, camera."""
