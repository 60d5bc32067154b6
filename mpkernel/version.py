"""The version. It is written only here: the build reads it from this file, as all other code
does."""

__all__ = ["__version__"]

__version__ = "0.2.0"
