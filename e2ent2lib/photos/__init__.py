"""Photographs of any size and format: files in, tiles, matching, confidence, files out, report."""
