"""What several tests share: a running system whose parts can be killed, and questions to its database."""
