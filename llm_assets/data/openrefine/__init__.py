"""OpenRefine: replay of an exported operation history over a table, with a GREL interpreter of its own."""
