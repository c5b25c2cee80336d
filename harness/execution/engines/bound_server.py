"""Ends the server that workers are forked from when its coordinator's main thread ends, that is, the coordinator.

To be imported there only, and only where that thread has started it. By itself the server ends when the pipe from the
coordinator does, which workers hold open too, and not before it has loaded torch.
"""

import os

from harness.execution.engines.server import end_with

end_with(os.getppid())
