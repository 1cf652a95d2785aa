"""Makes the transactions of Prefect's server on SQLite wait for each other instead of failing.

Prefect begins a transaction as a reader. If another one writes before this one does, SQLite ends it at once with
`database is locked`, and the client gets the status 503. A transaction that begins as a writer waits for its turn.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.server.utilities.database import get_dialect
from prefect.settings import get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class WaitingSqlite(AioSqliteConfiguration):
    """Prefect's configuration for SQLite, with transactions that begin as writers."""

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = True
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """Begins a transaction of `session` as a writer."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def use_waiting_transactions() -> None:
    """Makes the server of this process use `WaitingSqlite` if its database is SQLite; call it before the app exists."""
    secret = get_current_settings().server.database.connection_url
    if secret is not None and get_dialect(secret.get_secret_value()).name == "sqlite":
        MODELS_DEPENDENCIES["database_config"] = WaitingSqlite(connection_url=secret.get_secret_value())
