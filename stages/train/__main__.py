"""`python -m stages.train`: runs the stage."""

from stages.base.errors import end_process, exit_with


def main() -> int:
    """Runs the stage."""
    from stages.train.training import main as run  # late: if a library cannot be loaded, a sentence says so

    return run()


if __name__ == "__main__":
    end_process(exit_with(main))
