"""Weak references, finalizers and the garbage collector."""

import atexit
import gc
import weakref


class Node:
    def __init__(self, name):
        self.name = name
        self.next = None

    def __repr__(self):
        return f"Node({self.name})"


names = weakref.WeakValueDictionary()
nodes = weakref.WeakSet()
for name in "ab":
    node = Node(name)
    names[name] = node
    nodes.add(node)
print(sorted(names), len(nodes), names["b"])
reference = weakref.ref(node, lambda _: print("the node is gone"))
print(reference() is node, weakref.getweakrefcount(node) >= 1)
del node
print(reference(), len(names))
gc.disable()
left, right = Node("left"), Node("right")
left.next, right.next = right, left
weakref.finalize(left, print, "finalized", "left")
del left, right
print("garbage", gc.collect() >= 2, gc.isenabled())
gc.enable()
kept = Node("kept")
weakref.finalize(kept, print, "finalized at exit")
method = weakref.WeakMethod(kept.__repr__)
print(method()(), weakref.proxy(kept).name, gc.is_tracked([]))
atexit.register(print, "registered last")
