"""Threads with locks, queues, local data, and one that fails."""

import queue
import threading

jobs = queue.Queue()
results = {}
lock = threading.Lock()
local = threading.local()


def work():
    local.count = 0
    while (job := jobs.get()) is not None:
        local.count += 1
        with lock:
            results[job] = job * job
    with lock:
        results[threading.current_thread().name] = local.count > -1


def fail():
    raise RuntimeError("in a thread")


workers = [threading.Thread(target=work, name=f"worker-{n}") for n in range(3)]
for worker in workers:
    worker.start()
for number in range(10):
    jobs.put(number)
for _ in workers:
    jobs.put(None)
for worker in workers:
    worker.join()
print(sorted(map(str, results.items())))
failing = threading.Thread(target=fail, name="failing")
failing.start()
failing.join()
print("local" if hasattr(local, "count") else "not here", failing.is_alive())
