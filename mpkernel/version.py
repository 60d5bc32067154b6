"""The version, in its one place: the build reads it here, and so does whatever shows it."""

__all__ = ["__version__"]

__version__ = "0.2.0"
