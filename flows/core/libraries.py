"""Names of libraries that DVC uses, by which their errors are known without an import of DVC."""

REMOTE_LIBRARIES = ("aiohttp.", "asyncssh.", "azure.", "botocore.", "gcsfs.", "google.", "s3fs.")
