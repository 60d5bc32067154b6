"""A library that starts a thread when it is imported, as a BLAS does."""

import threading

threading.Thread(target=threading.Event().wait, name="of a library", daemon=True).start()
