"""The arguments of `inkflow verify`, and its option `--against`: another machine's dvc.lock."""
