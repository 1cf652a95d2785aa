"""Environment variables that configure Prefect."""

DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
HOSTS = "INKFLOW_UP_HOSTS"  # for our middleware: the names under which requests may address the server
ORIGINS = "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"  # Prefect's default allows every web page
HEARTBEAT_S = 30  # between heartbeats of our runs: Prefect's minimum; its default is 180
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}
