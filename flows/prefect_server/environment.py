"""Prefect's settings that Inkflow sets, as environment variables."""

DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
ORIGINS = "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"  # pages that may ask; Prefect lets every page of the web
HEARTBEAT_S = 30  # between the signs of life of our runs: the shortest that Prefect sends; its default is 180
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}
