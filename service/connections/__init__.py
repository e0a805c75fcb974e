"""Connections: files of object stores, web servers and folders, and rows of databases, read by reference."""
