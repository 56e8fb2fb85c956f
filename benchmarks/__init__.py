"""Measurements on real processes over loopback. Compare within one run only: machines differ, and so do their moods."""
