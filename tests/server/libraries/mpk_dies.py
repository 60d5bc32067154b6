"""A library that ends its process when it is imported."""

import os

os.write(2, b"no such processor")
os.abort()
