"""Writes an option file for a folder of photographs: what is known -> plan -> text."""
