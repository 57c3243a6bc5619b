"""Settings: one schema, layers with provenance, errors with file and line. Imports nothing of ours."""

from kit.config.errors import CasekitError, ConfigError, ExitCode, Problem
from kit.config.layers import LoadedConfig, load_config
from kit.config.schema import Config

__all__ = ["CasekitError", "Config", "ConfigError", "ExitCode", "LoadedConfig", "Problem", "load_config"]
