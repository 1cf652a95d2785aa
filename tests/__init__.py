"""All tests of Inkflow."""

import logging.config

# A new configuration of logging, as those of GTO, DVC and Prefect, closes all handlers; that of absl, which TensorFlow
# installs, closes its stream too, which may be the one in which pytest keeps the output of the tests.
logging.config._clearExistingHandlers = lambda: None  # type: ignore[attr-defined]
