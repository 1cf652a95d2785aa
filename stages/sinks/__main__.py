"""`python -m stages.sinks`: the process of the sinks, which `stages.base.sinks` starts."""

from stages.sinks.follow import main

if __name__ == "__main__":
    main()
