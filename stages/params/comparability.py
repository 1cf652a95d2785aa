"""The parameters that make validation scores incomparable, for `flows`, which does not import the stage `report`."""

from stages.report.comparability import DATA_KEYS as DATA_KEYS
from stages.report.comparability import LOSS_KEYS as LOSS_KEYS
from stages.report.comparability import NETWORK_KEYS as NETWORK_KEYS
from stages.report.comparability import PENALTIES as PENALTIES
from stages.report.comparability import SPLIT as SPLIT
from stages.report.comparability import TARGETS as TARGETS
