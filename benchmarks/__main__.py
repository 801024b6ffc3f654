"""All benchmarks, one after the other, each in a process of its own.

The accuracy of SST-2 takes half an hour of two cores; the others a few minutes.
"""

import subprocess
import sys

for arguments in (["circle"], ["sst2", "speed"], ["sst2", "accuracy"]):
    name, *options = arguments
    print(f"\n## {' '.join(arguments)}\n", flush=True)
    code = subprocess.call([sys.executable, "-m", f"benchmarks.{name}", *options])
    if code:
        sys.exit(code)
