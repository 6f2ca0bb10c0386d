from hypothesis import HealthCheck, settings

settings.register_profile(
    "callbreaker",
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("callbreaker")
