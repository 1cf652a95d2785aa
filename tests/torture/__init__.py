"""Every promise tried by force: few times in `make test`, many times in `make torture`, which writes the page of it."""
