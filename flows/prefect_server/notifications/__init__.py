"""Messages about unattended runs: which events are worth one, and the webhook, chat, mail and blocks that get them."""
