"""Files and parameters of other versions of the project: artifacts, experiments, differences."""
