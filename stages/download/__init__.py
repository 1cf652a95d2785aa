"""Stage `download`: fetches the data set, checks its arrays and writes them in a canonical form."""
