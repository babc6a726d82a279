"""Interfaces of the server: REST, gRPC and the page."""
