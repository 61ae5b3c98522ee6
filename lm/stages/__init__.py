"""One file a command: `lm NAME` runs `lm.stages.NAME`, whose `defaults()` holds every key it reads.

A stage wires parts of the library together and holds no algorithm. The first line of its docstring is
its line in `lm --help`.
"""
