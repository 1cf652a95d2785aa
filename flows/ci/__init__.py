"""The lanes of CI, check and run; their summaries; and the comment on a pull request."""
