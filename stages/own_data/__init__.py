"""`inkflow data add`: reads data of many forms, shows what it found, and writes them as a data set of the project."""
