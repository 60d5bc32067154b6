"""A package beside the scripts: what it does when it is imported can be seen."""

print(f"importing {__name__}")

VERSION = "1.2"
