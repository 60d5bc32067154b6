"""What operators see of a server, and what they can order.

    pool ── every second ──▶ observing ─▶ SnapshotFile      mpkernel status, top ─▶ finding
                                └───────▶ MetricsFile       a node exporter
                                └───────▶ History           mpkernel dashboard
         ◀── orders ──────── ControlSocket                  mpkernel restart, drain, stop
         ── each death ────▶ CrashReports                   mpkernel crashes

operations     all of it together, for one pool
snapshot       what a server looks like at one moment
observing      how a snapshot of a pool is taken
snapshot_file  one server's snapshot, where operators find it
finding        the servers that keep one
history        what was used over the last hour
metrics        what a metrics file says of a server
metrics_file   where a node exporter reads it
exposition     the text format of metrics
control        a socket that takes orders
obeying        how an order that concerns an app is carried out
orders         what can be ordered, and how it is told
crashes        reports of deaths
kept_files     reads what a server has written
"""
