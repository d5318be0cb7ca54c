"""The ground floor: settings, the embedded database, the queue, health, the admin's theme and the web entrance.

It holds what every other room stands on and knows none of them.
"""

import os
import signal

if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
    # Process 1 of a container: the kernel drops SIGTERM where no handler stands, and a stop would wait to be killed.
    # What knows a better way to end sets its own.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
