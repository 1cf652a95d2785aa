"""Stage `prepare`: validates, crops, splits, normalises and reshapes the training part of a data set."""
