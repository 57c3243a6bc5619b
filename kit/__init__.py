"""casekit: turn a general language model into a dependable domain assistant, and prove it.

Data flows one way: config -> data -> train -> evaluate -> report. Importing this package imports
nothing heavy; each room imports torch and friends only inside the functions that need them.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("casekit")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0+source"
