"""`python -m stages.train`: runs the stage."""

from stages.base.errors import end_process, exit_with
from stages.train.training import main

if __name__ == "__main__":
    end_process(exit_with(main))
