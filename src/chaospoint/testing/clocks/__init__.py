"""Clocks for tests: `FakeClock`, which a test advances, and `SkippingClock`, which skips waits."""
