//! Arrays on disk: bytes to named arrays and back. Knows nothing about models.
