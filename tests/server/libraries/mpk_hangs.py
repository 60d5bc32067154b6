"""A library whose import never ends. It leaves word that it has begun."""

import os
import time
from pathlib import Path

Path(os.environ["MPK_BEGUN"]).write_text(str(os.getpid()))
time.sleep(600)
