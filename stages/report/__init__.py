"""Stage `report`: checks the files of the other stages, compares the models, and writes page, summary and tables."""
